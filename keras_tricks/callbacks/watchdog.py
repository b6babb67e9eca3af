"""Detects divergence and stalled input: a non-finite loss, a collapsing loss scale, a step that does not end."""

import logging
import math
import threading
import time
import typing

import keras

from keras_tricks.distribution.step_state import StepState
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs

if typing.TYPE_CHECKING:  # it imports this file
    from keras_tricks.callbacks.checkpoint import Checkpoint

log = logging.getLogger("absl")

MIN_SCALE = 2.0**-8  # below this float16 loss scale the gradients themselves are not finite
MAX_SKIPPED = 8  # consecutive updates that may be skipped
STEPS_BETWEEN, SECONDS_BETWEEN = 16, 1.0  # whichever comes first, between two reads of the loss


class Diverged(UserError):
    """The run has diverged."""


class NonFiniteLoss(Diverged):
    """The loss or a weight is not finite. `epoch` and `step` are 0-based."""

    def __init__(self, epoch: int, step: int, what: str) -> None:
        self.epoch, self.step = epoch, step
        super().__init__(f"{what} at step {step + 1} of epoch {epoch + 1}")


def _number(value):
    return float(keras.ops.convert_to_numpy(value))


class Watchdog(keras.callbacks.Callback):
    """Ends a run that has diverged, and logs a warning when steps stall.

    Args:
        checkpoint: `Checkpoint` of the run, which gives the step number. It must follow this callback in the list given
            to `fit`, so that non-finite weights are never saved.
        timeout_minutes: number > 0, minutes without a step before a warning. Defaults to `10.0`.

    Use it as a context around `fit`, which ends its thread even if `fit` raises.

    Raises:
        NonFiniteLoss: in `fit`, after a step with a non-finite loss: at most 16 steps or about a second later,
            and before a checkpoint is written.
        Diverged: in `fit`, if a float16 loss scale falls below 2^-8, 8 consecutive updates were skipped with
            `train.skip_non_finite`, or a value of the validation is not finite.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, checkpoint: "Checkpoint", timeout_minutes: float = 10.0) -> None:
        super().__init__()
        self.checkpoint, self.timeout_minutes = checkpoint, timeout_minutes
        self.last, self.skipped, self.ended = None, 0, threading.Event()
        self.losses, self.unread, self.checked = [], 0, 0.0  # (epoch, step, loss); scales not read; time of a read
        checkpoint.before_saving = self.check

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.step_state = StepState(self)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.last = self.checked = time.monotonic()
        self.losses = []
        self.ended.clear()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def on_train_end(self, logs: Logs = None) -> None:
        self.ended.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.last = time.monotonic()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.last = time.monotonic()

    def on_test_end(self, logs: Logs = None) -> None:
        self.last = None  # until the next epoch: other callbacks may evaluate too

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Before `Checkpoint` saves this epoch: a step can end with a finite loss and unusable weights."""
        self.check()
        for name, value in (logs or {}).items():
            if name.startswith("val_") and not math.isfinite(float(value)):
                raise Diverged(f"Training stopped: {name} is {float(value)} after epoch {epoch + 1}. Nothing of that "
                               "epoch is saved. Lower schedule.base_learning_rate, or add schedule.warmup_epochs or "
                               "optimizer.agc_clip_factor.")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.last = time.monotonic()
        optimizer = self.step_state.optimizer
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # skips the update, so the weights stay finite
            self._check_scale(optimizer)
            return
        self._check_loss(batch, (logs or {}).get("loss", 0.0))

    def _check_loss(self, batch, loss):
        self.losses.append((self.checkpoint.position.epoch, batch + self.checkpoint.offset, loss))
        # Reading a loss waits for its step. The loss is a mean over the epoch, so one that is not finite remains so.
        late = self._is_time(len(self.losses))
        if isinstance(loss, float) or self._ends_epoch(batch):  # before the validation, and before the epoch is logged
            self.check()
        elif late and not math.isfinite(_number(self.losses[-2:][0][2])):  # of the step before: this one may still run
            self.check()
        elif late:
            self.losses, self.checked = self.losses[-1:], self.last

    def _ends_epoch(self, batch):
        plan, epoch = self.checkpoint.plan, self.checkpoint.position.epoch
        return plan is not None and batch + self.checkpoint.offset + 1 >= plan.phase(epoch).steps_per_epoch

    def _is_time(self, steps):
        return steps >= STEPS_BETWEEN or self.last - self.checked > SECONDS_BETWEEN

    def check(self) -> None:
        """Reads the losses of all steps so far. Raises `NonFiniteLoss` for the first that is not finite."""
        losses, self.losses, self.checked = self.losses, [], time.monotonic()
        if not losses or math.isfinite(_number(losses[-1][2])):
            return
        for epoch, step, loss in losses:
            if not math.isfinite(_number(loss)):
                raise NonFiniteLoss(epoch, step, f"the loss is {_number(loss)}")

    def _check_scale(self, optimizer):
        self.unread += 1
        float16 = optimizer.initial_scale != 1.0
        if float16 and not self._is_time(self.unread):
            return
        self.unread, self.checked = 0, self.last
        scale = self.step_state.number(optimizer.dynamic_scale) if optimizer.built else 1.0
        if not float16:  # each step is independent, and the next one needs the scale 1
            self.skipped = self.skipped + 1 if scale < 1.0 else 0
            if self.skipped == MAX_SKIPPED:
                raise Diverged(f"{MAX_SKIPPED} consecutive updates had non-finite gradients and were skipped. "
                               "Lower the learning rate.")
            if self.skipped:
                self.model.optimizer.dynamic_scale.assign(1.0)
        elif scale < MIN_SCALE:
            raise Diverged(f"The float16 loss scale has fallen to {scale:g}: gradients are not finite at any scale. "
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
