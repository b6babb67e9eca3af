"""Exponential decay: the learning rate is multiplied by the same factor after every `decay_epochs` epochs, smoothly.

Formula    eta * rate ** (epoch / decay_epochs)
Paper      Robbins & Monro 1951 ask for a decay; this form is that of TensorFlow's recipes (Inception, EfficientNet)
Recipe     none: for schedules of your own
Use when   reproducing those, or as the decay to turn into batch growth
Do not     expect it to reach zero
Cost       none
Differs    counts epochs from the end of the warmup; Keras' ExponentialDecay counts updates from the start
Status     not used by a recipe
"""

import dataclasses

import numpy


def exponential(epoch, rate=0.97, decay_epochs=1.0):
    """The factor at `epoch` (a fraction counts batches within it)."""
    return rate ** (epoch / decay_epochs)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """Decay by `rate` (0 to 1) every `decay_epochs`."""

    rate: float = 0.97
    decay_epochs: float = 1.0

    def __call__(self, epoch, warmup_epochs=0.0, xp=numpy):
        return exponential(xp.maximum(epoch - warmup_epochs, 0.0), self.rate, self.decay_epochs)
