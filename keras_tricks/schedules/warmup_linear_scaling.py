"""Linear scaling, warmup and decay combined: the learning rate of a Bag of Tricks run at every update.

Formula    linear_scaling(batch_size) * (warmup(step) while step < m, else decay(epoch))
Paper      He et al. 2018, arXiv:1812.01187, sections 3.1 and 5.1
Recipe     always on: it combines the three parts above
Use when   `optimizer = SGD(WarmupLinearScaling(...))`; as a callback: `kt.callbacks.WarmupLinearScaling`
Do not     use the schedule and the callback together
Cost       none
Differs    nothing; see the cards of the parts
Status     equal to the formulas to 1e-7 over 120 epochs (tests/schedules)
"""

from typing import Any

import keras
import numpy

from keras_tricks.schedules.cosine import Cosine
from keras_tricks.schedules.exponential import Exponential
from keras_tricks.schedules.linear import Linear
from keras_tricks.schedules.linear_scaling import linear_scaling
from keras_tricks.schedules.step import Step
from keras_tricks.schedules.warmup import warmup
from keras_tricks.utils.types import Decay

DECAYS = {"Cosine": Cosine, "Exponential": Exponential, "Linear": Linear, "Step": Step}


def learning_rate(step: Any, steps_per_epoch: float, peak: float, warmup_epochs: float = 0.0, decay: Decay = None,
                  xp: Any = numpy) -> Any:
    """The learning rate of the 0-based update `step`.

    Args:
        step: number of updates done before it, scalar or array.
        steps_per_epoch: updates per epoch.
        peak: float, the rate after the warmup.
        warmup_epochs: float >= 0. Defaults to `0.0`.
        decay: `Cosine`, `Step` or any `f(epoch, warmup_epochs, xp)`; `None` is constant. Defaults to `None`.
        xp: `numpy` or `keras.ops`.
    """
    warmup_steps = warmup_epochs * steps_per_epoch
    decayed = 1.0 if decay is None else decay(step / steps_per_epoch, warmup_epochs, xp)
    return peak * xp.where(step < warmup_steps, warmup(step, warmup_steps, xp), decayed)


@keras.saving.register_keras_serializable(package="keras_tricks", name="WarmupLinearScalingSchedule")
class WarmupLinearScaling(keras.optimizers.schedules.LearningRateSchedule):
    """Learning-rate schedule, a function of the number of updates.

    Args:
        batch_size: images per update, over all devices.
        steps_per_epoch: updates per epoch.
        base_learning_rate: float > 0, the rate at `base_batch_size`. Defaults to `0.1`.
        base_batch_size: integer > 0. Defaults to `256` (paper).
        warmup_epochs: float >= 0. Defaults to `5` (paper).
        decay: `kt.schedules.Cosine(epochs)`, `kt.schedules.Step(milestones, factor)` or `None` (constant). Defaults to
            `None`.
    """

    def __init__(self, batch_size: int, steps_per_epoch: int, base_learning_rate: float = 0.1,
                 base_batch_size: int = 256, warmup_epochs: float = 5, decay: Decay = None) -> None:
        super().__init__()
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.base_learning_rate, self.base_batch_size = base_learning_rate, base_batch_size
        self.warmup_epochs, self.decay = warmup_epochs, decay

    def __call__(self, step: Any) -> Any:
        peak = linear_scaling(self.batch_size, self.base_learning_rate, self.base_batch_size)
        step = keras.ops.cast(step, "float32")
        return learning_rate(step, self.steps_per_epoch, peak, self.warmup_epochs, self.decay, keras.ops)

    def get_config(self) -> dict[str, Any]:
        decay = self.decay and {"name": type(self.decay).__name__, **vars(self.decay)}
        return {
            "batch_size": self.batch_size,
            "steps_per_epoch": self.steps_per_epoch,
            "base_learning_rate": self.base_learning_rate,
            "base_batch_size": self.base_batch_size,
            "warmup_epochs": self.warmup_epochs,
            "decay": decay,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmupLinearScaling":
        config = dict(config)
        decay = dict(config.pop("decay") or {})
        if decay:
            config["decay"] = DECAYS[decay.pop("name")](**{k: _tuple(v) for k, v in decay.items()})
        return cls(**config)


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value
