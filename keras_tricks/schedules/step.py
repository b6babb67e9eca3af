"""Step decay: divides the learning rate at given epochs.

Formula    eta * factor ** (number of milestones passed)
Paper      He et al. 2018, arXiv:1812.01187, section 2.1: factor 0.1 at epochs 30, 60 and 90 of 120
Recipe     step_decay: schedule.decay=step
Use when   reproducing baselines
Do not     expect the paper's best: cosine is +0.75 % on ResNet-50-D (table 6)
Cost       none
Differs    nothing. Milestones count from the start of training, the warmup included, in the text and in gluon-cv
Status     in the baseline and efficient recipes
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy


def step_decay(epoch: Any, milestones: Sequence[float] = (30, 60, 90), factor: float = 0.1, xp: Any = numpy) -> Any:
    """The factor at `epoch`; it changes exactly at a milestone. A fraction of an epoch counts the batches within it."""
    result = 1.0
    for milestone in milestones:
        result = result * xp.where(epoch >= milestone, factor, 1.0)
    return result


@dataclasses.dataclass(frozen=True)
class Step:
    """Multiplies the rate by `factor` at each of `milestones`, in epochs from the start of training."""

    milestones: Sequence[float] = (30, 60, 90)
    factor: float = 0.1

    def __call__(self, epoch: Any, warmup_epochs: float = 0.0, xp: Any = numpy) -> Any:
        return step_decay(epoch, self.milestones, self.factor, xp)
