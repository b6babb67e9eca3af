"""Detects divergence and stalled input: a loss that is not finite, a collapsing loss scale, a step that never comes."""

import logging
import math
import threading
import time

import keras

from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")

SMALLEST_SCALE = 2.0**-8  # a float16 loss scale below it: the gradients themselves are not finite
MOST_SKIPPED = 8  # updates in a row that may be left out


class Diverged(UserError):
    """A run has lost its numbers."""


class NonFiniteLoss(Diverged):
    """The loss, or a weight, is not a finite number. `epoch` and `step` count from 0."""

    def __init__(self, epoch, step, what):
        self.epoch, self.step = epoch, step
        super().__init__(f"{what} at step {step + 1} of epoch {epoch + 1}")


class Watchdog(keras.callbacks.Callback):
    """Ends a run that has lost its numbers, and says when no step comes.

    Args:
        checkpoint: `Checkpoint` of the run, for the number of the step; it stands after this one in the list given to
            `fit`, so that non-finite weights are never saved.
        timeout_minutes: number > 0, minutes without a step before a warning. Defaults to `10`.

    Use it as a context around `fit`: its thread ends there, also when `fit` raises.

    Raises:
        NonFiniteLoss: in `fit`, after the step.
        Diverged: in `fit`, when a float16 loss scale has fallen below 2^-8, or when, with
            `train.skip_non_finite`, 8 updates in a row had to be left out.
    """

    def __init__(self, checkpoint, timeout_minutes=10.0):
        super().__init__()
        self.checkpoint, self.timeout_minutes = checkpoint, timeout_minutes
        self.last, self.skipped, self.ended = None, 0, threading.Event()

    def on_train_begin(self, logs=None):
        self.last = time.monotonic()
        self.ended.clear()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def on_train_end(self, logs=None):
        self.ended.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()

    def on_epoch_begin(self, epoch, logs=None):
        self.last = time.monotonic()

    def on_test_batch_end(self, batch, logs=None):
        self.last = time.monotonic()

    def on_test_end(self, logs=None):
        self.last = None  # until the next epoch: others may evaluate too

    def on_train_batch_end(self, batch, logs=None):
        self.last = time.monotonic()
        optimizer = self.model.optimizer
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # skips the update, so the weights are sound
            self._check_scale(optimizer)
            return
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            step = batch + self.checkpoint.offset
            raise NonFiniteLoss(self.checkpoint.position.epoch, step, f"the loss is {loss}")

    def _check_scale(self, optimizer):
        scale = float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) if optimizer.built else 1.0
        if optimizer.initial_scale == 1.0:  # no float16: each step is for itself
            self.skipped = self.skipped + 1 if scale < 1.0 else 0
            if self.skipped == MOST_SKIPPED:
                raise Diverged(f"{MOST_SKIPPED} updates in a row had gradients that are not finite and were left out. "
                               "Lower the learning rate.")
            if self.skipped:
                optimizer.dynamic_scale.assign(1.0)
        elif scale < SMALLEST_SCALE:
            raise Diverged(f"The float16 loss scale has fallen to {scale:g}: gradients are not finite whatever it is. "
                           "Lower the learning rate, or use --precision mixed_bfloat16.")

    def _watch(self):
        warned = None
        while not self.ended.wait(min(60 * self.timeout_minutes / 4, 60)):
            last = self.last
            if last is None or last == warned:
                continue
            silent = (time.monotonic() - last) / 60
            if silent > self.timeout_minutes:
                warned = last
                log.warning("no step for %.0f minutes: the input, another worker or a device is stalled", silent)
