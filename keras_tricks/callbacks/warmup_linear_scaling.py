"""Linear scaling, warmup and decay as a callback, for any model and any optimizer with a settable learning rate.

Formula    as `kt.schedules.WarmupLinearScaling`, evaluated before every batch
Paper      He et al. 2018, arXiv:1812.01187, sections 3.1 and 5.1
Recipe     none: recipes use the schedule
Use when   training with your own `model.fit(..., callbacks=[WarmupLinearScaling(batch_size=1024)])`
Do not     combine it with a `LearningRateSchedule`: Keras rejects setting a scheduled rate
Cost       one scalar assignment per batch
Differs    nothing; with `steps_per_execution` > 1 the rate changes once per execution
Status     equal to the formulas to 1e-7 over 120 epochs (tests/callbacks)
"""

import keras

from keras_tricks.callbacks.fit_checks import BatchSize, LearningRate
from keras_tricks.distribution.step_state import StepState
from keras_tricks.optimizers import GradientAccumulation
from keras_tricks.optimizers.wrapper import find_wrapper, innermost
from keras_tricks.schedules import learning_rate, linear_scaling
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Decay, Logs


class WarmupLinearScaling(keras.callbacks.Callback):
    """Sets the learning rate before every batch.

    Args:
        batch_size: images per update, over all devices.
        base_learning_rate: float > 0, the rate at `base_batch_size`. Defaults to `0.1`.
        base_batch_size: integer > 0. Defaults to `256` (paper).
        warmup_epochs: float >= 0. Defaults to `5` (paper).
        decay: `kt.schedules.Cosine(epochs)`, `kt.schedules.Step(milestones, factor)` or `None` (constant). Defaults to
            `None`.
        steps_per_epoch: batches per epoch. Defaults to `None`: the number in `fit`, if it can count them.
        accumulation_steps: integer >= 1, batches per update. Defaults to `None`: as the optimizer accumulates.

    `logs["learning_rate"]` is the last rate of each epoch.

    Raises:
        UserError: in `fit`, if the optimizer accumulates another number of batches, or has a `LearningRateSchedule`; if
            an update has another number of images than `batch_size`, after the first step; if an epoch has another
            number of batches than `steps_per_epoch`.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, batch_size: int, base_learning_rate: float = 0.1, base_batch_size: int = 256,
                 warmup_epochs: float = 5, decay: Decay = None, steps_per_epoch: int | None = None,
                 accumulation_steps: int | None = None) -> None:
        super().__init__()
        self.peak = linear_scaling(batch_size, base_learning_rate, base_batch_size)
        self.warmup_epochs, self.decay = warmup_epochs, decay
        self.batch_size, self.steps_per_epoch, self.accumulation_steps = batch_size, steps_per_epoch, accumulation_steps
        self.accumulated = accumulation_steps or 1  # batches per update of the optimizer, once `fit` has begun
        self.epoch, self.batches, self.first = 0, 0, True
        self.learning_rate, self.size = LearningRate(type(self).__name__), BatchSize()

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.step_state = StepState(self)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.learning_rate.begin()
        accumulation = find_wrapper(self.model.optimizer, GradientAccumulation)
        self.accumulated = (innermost(self.model.optimizer).gradient_accumulation_steps or 1
                            if accumulation is None else accumulation.steps)
        if self.accumulation_steps not in (None, self.accumulated):
            raise UserError(f"WarmupLinearScaling has accumulation_steps={self.accumulation_steps}, but the optimizer "
                            f"accumulates {self.accumulated} batches per update: leave out `accumulation_steps`.")
        known = (self.params or {}).get("steps")
        if None not in (known, self.steps_per_epoch) and known != self.steps_per_epoch:
            raise UserError(f"WarmupLinearScaling has steps_per_epoch={self.steps_per_epoch}, but an epoch of `fit` "
                            f"has {known} batches: leave out `steps_per_epoch`.")
        if self.steps_per_epoch is None:
            self.steps_per_epoch = known
        if not self.steps_per_epoch:
            raise UserError("WarmupLinearScaling needs the number of steps in an epoch and `fit` cannot count them: "
                             "pass `steps_per_epoch` to WarmupLinearScaling or to fit.")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch, self.first = epoch, True

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self.first:
            self.size.begin(self.model)
            self.learning_rate.check(self.model.optimizer)
        batches = self.epoch * self.steps_per_epoch + batch
        self.learning_rate.assign(self.step_state, self.rate(batches // self.accumulated))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.batches = batch + 1
        self.learning_rate.done()
        if not self.first:
            return
        self.first = False
        size = self.size.measure(self.model)
        if size is not None and size * self.accumulated != self.batch_size:
            raise UserError(f"WarmupLinearScaling has batch_size={self.batch_size}, but an update has "
                            f"{size * self.accumulated} images ({self.accumulated} x {size}).")
        self.learning_rate.check(self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.batches != self.steps_per_epoch and not self.model.stop_training:
            raise UserError(f"WarmupLinearScaling has steps_per_epoch={self.steps_per_epoch}, but the epoch had "
                            f"{self.batches} batches.")
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def rate(self, step: int) -> float:
        """The learning rate of the 0-based update `step`, a Python float."""
        updates_per_epoch = self.steps_per_epoch / self.accumulated
        return float(learning_rate(step, updates_per_epoch, self.peak, self.warmup_epochs, self.decay))
