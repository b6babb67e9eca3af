"""Logs one line for every update that `kt.optimizers.LossScale` skips because of a float16 overflow."""

import logging
from typing import Any

import keras

from keras_tricks.utils.types import Logs

log = logging.getLogger("absl")


class OverflowLog(keras.callbacks.Callback):
    """Logs `step 17: float16 overflow, update skipped, loss scale 32768 -> 16384`. Logs nothing without a loss scale.

    `skipped` is the number of updates skipped so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped, self.scale = 0, None

    def state(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "scale": self.scale}

    def set_state(self, state: dict[str, Any]) -> None:
        self.skipped, self.scale = state["skipped"], state["scale"]

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return
        plain = optimizer.initial_scale == 1.0  # `train.skip_non_finite` without float16
        before = 1.0 if plain else self.scale or optimizer.initial_scale
        self.scale = float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))
        if self.scale < before:
            self.skipped += 1
            step = int(keras.ops.convert_to_numpy(optimizer.iterations))
            if plain:
                log.warning("step %d: the gradient is not finite, update skipped", step)
            else:
                log.warning("step %d: float16 overflow, update skipped, loss scale %g -> %g", step, before, self.scale)
