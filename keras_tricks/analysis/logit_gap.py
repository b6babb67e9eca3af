"""The gap between the largest logit and the others, which label smoothing bounds.

He et al. 2018 (arXiv:1812.01187), section 5.2: at the minimum of the smoothed loss the gap is
log((K - 1) (1 - eps) / eps); without smoothing it grows without bound.
"""

import math
from typing import Any

import numpy as np


def logit_gap(logits: Any) -> np.ndarray:
    """The largest logit minus the mean of the others, of each image.

    Args:
        logits: float `(images, classes)`, two classes or more.

    Returns:
        float64 `(images,)`, 0 or more.
    """
    logits = np.asarray(logits, "float64")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"`logits` must be (images, classes) with 2 classes or more. Received: {logits.shape}")
    largest = logits.max(axis=1)
    return largest - (logits.sum(axis=1) - largest) / (logits.shape[1] - 1)


def optimal_logit_gap(classes: int, label_smoothing: float) -> float:
    """The gap at which the smoothed loss is least: log((K - 1) (1 - eps) / eps); infinite for eps = 0.

    `label_smoothing` is in [0, 1), spread over the other classes (`smoothing="others"`).
    """
    if not label_smoothing:
        return math.inf
    return math.log((classes - 1) * (1 - label_smoothing) / label_smoothing)
