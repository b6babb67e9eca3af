"""Calibration: whether a network that is 80 % confident is right in 80 % of the cases (Guo et al. 2017, 1706.04599)."""

import dataclasses
import math
from typing import Any

import numpy as np

TEMPERATURES = (0.01, 100.0)  # range in which `fit_temperature` searches


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predictions in bins of confidence `(low, high]`, the data of a reliability diagram.

    Attributes:
        edges: float array `(bins + 1,)`, from 0 to 1.
        images: int64 array `(bins,)`, images of each bin.
        confidence, accuracy: float arrays `(bins,)`, means of each bin in [0, 1]; NaN for a bin without images.
    """

    edges: np.ndarray
    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean over the images of |accuracy - confidence| of their bin."""
        used = self.images > 0
        gaps = np.abs(self.accuracy[used] - self.confidence[used])
        return float(np.sum(gaps * self.images[used]) / max(self.images.sum(), 1))


def reliability(confidences: Any, correct: Any, bins: int = 15) -> Reliability:
    """Divides predictions into bins of equal width by their confidence.

    Args:
        confidences: float array `(n,)`, probability of the predicted class, in [0, 1].
        correct: bool array `(n,)`, whether the predicted class is right.
        bins: integer > 0. Defaults to `15`, as in the paper.

    Returns:
        A `Reliability`.
    """
    confidences, correct = np.asarray(confidences, "float64"), np.asarray(correct, "float64")
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], confidences)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=values, minlength=bins) / images for values in (confidences, correct)]
    return Reliability(edges, images, *means)


def softmax(logits: Any, temperature: float = 1.0) -> np.ndarray:
    """Probabilities `(n, classes)`, float64, of logits divided by a temperature."""
    return np.exp(_log_softmax(logits, temperature))


def negative_log_likelihood(logits: Any, labels: Any, temperature: float = 1.0) -> float:
    """The mean cross entropy of logits `(n, classes)` divided by a temperature, with integer labels `(n,)`."""
    labels = np.asarray(labels, "int64")
    return float(-np.mean(_log_softmax(logits, temperature)[np.arange(len(labels)), labels]))


def fit_temperature(logits: Any, labels: Any) -> float:
    """The temperature that minimizes the negative log-likelihood. It changes confidences and no predicted class.

    Args:
        logits: float array `(n, classes)`.
        labels: integer array `(n,)`.

    Returns:
        A float in [0.01, 100]. If every label is predicted the optimum is 0, and a small value is returned.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, "float64")
    bounds = tuple(math.log(t) for t in TEMPERATURES)
    found = minimize_scalar(lambda x: negative_log_likelihood(logits, labels, math.exp(x)), bounds=bounds,
                            method="bounded", options={"xatol": 1e-10, "maxiter": 200})
    return float(math.exp(found.x))


def _log_softmax(logits, temperature):
    scaled = np.asarray(logits, "float64") / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
