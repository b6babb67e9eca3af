"""One line in the log for every update that float16 overflow made `kt.optimizers.LossScale` skip."""

import logging

import keras

log = logging.getLogger("absl")


class OverflowLog(keras.callbacks.Callback):
    """Logs `step 17: float16 overflow, update skipped, loss scale 32768 -> 16384`. Silent without a loss scale.

    `skipped` counts the updates skipped so far.
    """

    def __init__(self):
        super().__init__()
        self.skipped, self.scale = 0, None

    def state(self):
        return {"skipped": self.skipped, "scale": self.scale}

    def set_state(self, state):
        self.skipped, self.scale = state["skipped"], state["scale"]

    def on_train_batch_end(self, batch, logs=None):
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
