"""Logs one line for every update that `kt.optimizers.LossScale` skips because of a float16 overflow."""

import logging
from typing import Any

import keras

from keras_tricks.distribution.step_state import StepState
from keras_tricks.utils.types import Logs

log = logging.getLogger("absl")

STEPS_BETWEEN = 16  # between two reads of the loss scale: a read waits for its step


class OverflowLog(keras.callbacks.Callback):
    """Logs `step 17: float16 overflow, update skipped, loss scale 32768 -> 16384`. Logs nothing without a loss scale.

    `skipped` is the number of updates skipped so far.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self) -> None:
        super().__init__()
        self.skipped, self.scale, self.unread = 0, None, []

    def state(self) -> dict[str, Any]:
        self._read()
        return {"skipped": self.skipped, "scale": self.scale}

    def set_state(self, state: dict[str, Any]) -> None:
        self.skipped, self.scale = state["skipped"], state["scale"]

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.step_state = StepState(self)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        optimizer = self.step_state.optimizer
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return
        values = self.step_state.values([optimizer.iterations, optimizer.dynamic_scale])
        self.unread.append([keras.ops.copy(value) for value in values])  # JAX frees those of the step
        if optimizer.initial_scale == 1.0 or len(self.unread) == STEPS_BETWEEN:
            self._read()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._read()

    def on_train_end(self, logs: Logs = None) -> None:
        self._read()

    def _read(self):
        """Reads what the steps since the last time left."""
        unread, self.unread = self.unread, []
        initial = self.step_state.optimizer.initial_scale if unread else None
        plain = initial == 1.0  # `train.skip_non_finite` without float16
        for values in unread:
            step, scale = (keras.ops.convert_to_numpy(value).item() for value in values)
            before, self.scale = 1.0 if plain else self.scale or initial, scale
            if scale >= before:
                continue
            self.skipped += 1
            if plain:
                log.warning("step %d: the gradient is not finite, update skipped", step)
            else:
                log.warning("step %d: float16 overflow, update skipped, loss scale %g -> %g", step, before, scale)
