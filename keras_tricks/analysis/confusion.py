"""Which classes are taken for which others, as counts of pairs: memory does not grow with the square of the classes."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Confusion:
    """The cells of a confusion matrix that are not zero, sorted by label, then by prediction.

    Attributes:
        classes: integer, number of classes.
        labels, predicted: int64 arrays `(cells,)`.
        images: int64 array `(cells,)`, number of images of that label with that prediction.
    """

    classes: int
    labels: np.ndarray
    predicted: np.ndarray
    images: np.ndarray

    def matrix(self, most: int | None = None) -> np.ndarray:
        """The matrix as int64 `(size, size)`; rows are labels.

        Args:
            most: integer, largest size. With more classes a cell is the sum of a block of neighbouring classes.
                Defaults to `None`: a row for each class.
        """
        width = 1 if most is None else -(-self.classes // most)
        size = -(-self.classes // width)
        found = np.zeros((size, size), "int64")
        np.add.at(found, (self.labels // width, self.predicted // width), self.images)
        return found

    def pairs(self, count: int = 20) -> list[tuple[int, int, int]]:
        """The most frequent mistakes: a list of (label, predicted class, images)."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        wrong = wrong[np.argsort(-self.images[wrong], kind="stable")][:count]
        return [(int(self.labels[i]), int(self.predicted[i]), int(self.images[i])) for i in wrong]


def confusion(labels: Any, predicted: Any, classes: int) -> Confusion:
    """Counts the pairs of label and prediction.

    Args:
        labels, predicted: integer arrays `(n,)`, in [0, `classes`).
        classes: integer.

    Returns:
        A `Confusion`.
    """
    cells = np.asarray(labels, "int64") * classes + np.asarray(predicted, "int64")
    cells, images = np.unique(cells, return_counts=True)
    return Confusion(classes, cells // classes, cells % classes, images)
