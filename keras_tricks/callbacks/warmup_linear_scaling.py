"""Linear scaling, warmup and decay as a callback, for any model and any optimizer with a settable learning rate.

Formula    as `kt.schedules.WarmupLinearScaling`, evaluated before every batch
Paper      He et al. 2018, arXiv:1812.01187, sections 3.1 and 5.1
Recipe     none: recipes have the schedule
Use when   `model.fit(..., callbacks=[WarmupLinearScaling(batch_size=1024)])`
Do not     combine with a `LearningRateSchedule`: Keras refuses to set a rate that has one
Cost       one scalar assignment per batch
Differs    nothing; with `steps_per_execution` > 1 the rate changes once per execution
Status     equal to the formulas to 1e-7 over 120 epochs (tests/callbacks)
"""

import keras
import numpy as np

from keras_tricks.schedules import learning_rate, linear_scaling


class WarmupLinearScaling(keras.callbacks.Callback):
    """Sets the learning rate before every batch.

    Args:
        batch_size: images per update, all devices together.
        base_learning_rate: float > 0, the rate at `base_batch_size`. Defaults to `0.1`.
        base_batch_size: integer > 0. Defaults to `256` (paper).
        warmup_epochs: float >= 0. Defaults to `5` (paper).
        decay: `kt.schedules.Cosine(epochs)`, `kt.schedules.Step(milestones, factor)` or `None` (constant).
        steps_per_epoch: batches in an epoch. Defaults to what `fit` says; needed when `fit` cannot know.
        accumulation_steps: integer >= 1, batches per update, as in `GradientAccumulation`. Defaults to `1`.

    `logs["learning_rate"]` holds the last rate of each epoch.
    """

    def __init__(self, batch_size, base_learning_rate=0.1, base_batch_size=256, warmup_epochs=5, decay=None,
                 steps_per_epoch=None, accumulation_steps=1):
        super().__init__()
        self.peak = linear_scaling(batch_size, base_learning_rate, base_batch_size)
        self.warmup_epochs, self.decay = warmup_epochs, decay
        self.steps_per_epoch, self.accumulation_steps = steps_per_epoch, accumulation_steps
        self.epoch = 0

    def on_train_begin(self, logs=None):
        if self.steps_per_epoch is None:
            self.steps_per_epoch = (self.params or {}).get("steps")
        if not self.steps_per_epoch:
            raise ValueError("WarmupLinearScaling needs the number of steps in an epoch and `fit` does not know it: "
                             "pass `steps_per_epoch` to WarmupLinearScaling or to fit.")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        batches = self.epoch * self.steps_per_epoch + batch
        # NumPy's number: TensorFlow 2.21 keeps a tensor of every Python number it was ever given.
        self.model.optimizer.learning_rate = np.float32(self.rate(batches // self.accumulation_steps))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def rate(self, step):
        """The learning rate of the 0-based update `step`, a Python float."""
        updates_per_epoch = self.steps_per_epoch / self.accumulation_steps
        return float(learning_rate(step, updates_per_epoch, self.peak, self.warmup_epochs, self.decay))
