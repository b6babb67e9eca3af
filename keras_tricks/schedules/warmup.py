"""Warmup: raises the learning rate linearly over the first epochs.

Formula    batch i of m warmup batches uses i * eta / m, i = 1 ... m
Paper      Goyal et al. 2017, arXiv:1706.02677; He et al. 2018, arXiv:1812.01187, section 3.1 (5 epochs)
Recipe     warmup: schedule.warmup_epochs=5
Use when   large batches, or networks without normalization
Do not     omit it at batches of 1024 or more: the first updates can be too large
Cost       none
Differs    gluon-cv starts at 0; here the first batch uses eta / m, as in the paper's text
Status     in every large-batch recipe; reproduced at batch 512 on small images (docs/results/ablation, n = 3)
"""

from typing import Any

import numpy


def warmup(step: Any, warmup_steps: float, xp: Any = numpy) -> Any:
    """The factor in (0, 1] at the 0-based `step`; 1 from step `warmup_steps - 1` on, and always without a warmup.

    Args:
        step: number of updates done, scalar or array.
        warmup_steps: number of updates in the warmup; it may be a fraction.
        xp: `numpy` or `keras.ops`.
    """
    return xp.minimum((step + 1.0) / max(warmup_steps, 1.0), 1.0)
