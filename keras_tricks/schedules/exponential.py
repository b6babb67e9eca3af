"""Exponential decay: the learning rate is multiplied by the same factor after every `decay_epochs` epochs, smoothly.

Formula    eta * rate ** (epoch / decay_epochs)
Paper      Robbins & Monro 1951 require a decay; TensorFlow's recipes (Inception, EfficientNet) use this form
Recipe     none: for your own schedules
Use when   reproducing those recipes, or as a decay to turn into batch growth
Do not     expect it to reach zero
Cost       none
Differs    counts epochs from the end of the warmup; Keras' ExponentialDecay counts updates from the start
Status     not used by a recipe
"""

import dataclasses
from typing import Any

import numpy


def exponential(epoch: Any, rate: float = 0.97, decay_epochs: float = 1.0) -> Any:
    """The factor at `epoch`; a fraction of an epoch counts the batches within it."""
    return rate ** (epoch / decay_epochs)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """Decay by the factor `rate`, in (0, 1], every `decay_epochs` epochs."""

    rate: float = 0.97
    decay_epochs: float = 1.0

    def __call__(self, epoch: Any, warmup_epochs: float = 0.0, xp: Any = numpy) -> Any:
        return exponential(xp.maximum(epoch - warmup_epochs, 0.0), self.rate, self.decay_epochs)
