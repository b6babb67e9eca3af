"""Linear decay, whose length excludes the warmup.

Formula    eta_t = (1 - (1 - final) * t / T) * eta,  t and T exclude the warmup
Paper      Jordan 2024, arXiv:2404.00498 (airbench)
Recipe     linear: schedule.decay=linear
Use when   training for few epochs
Do not     stop early: the rate stays high until late
Cost       none
Differs    nothing
Status     in `cifar10/airbench94`
"""

import dataclasses
from typing import Any

import numpy


def linear(progress: Any, final: float = 0.0, xp: Any = numpy) -> Any:
    """The factor from 1 to `final` at `progress` = t / T; `final` after the end."""
    return 1.0 - (1.0 - final) * xp.clip(progress, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Linear decay to `final` at `epochs`, counted from the start of training."""

    epochs: float
    final: float = 0.0

    def __call__(self, epoch: Any, warmup_epochs: float = 0.0, xp: Any = numpy) -> Any:
        return linear((epoch - warmup_epochs) / max(self.epochs - warmup_epochs, 1e-9), self.final, xp)
