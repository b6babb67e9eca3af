"""Several labels an image: from names to uint8 arrays of 0 and 1, one column for each class."""

from collections.abc import Sequence

import numpy as np

from keras_tricks.data.sources.labels import number_labels
from keras_tricks.utils.errors import UserError


def split_labels(text: str, separator: str) -> list[str]:
    """The labels in a text such as `"cat;dog"`. The separator alone means none of the classes."""
    return [label.strip() for label in text.split(separator) if label.strip()]


def number_label_sets(sets: Sequence[Sequence[str]], places: Sequence[str] | None, known: Sequence[str] | None,
                      where: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The class names, and the labels of each example.

    Args:
        sets: the labels of each example, as texts.
        places, known, where: as for `labels.number_labels`.

    Returns:
        (names, uint8 array `(n, classes)` of 0 and 1).

    Raises:
        UserError: as `number_labels`, or no example has a label.
    """
    texts = [text for labels in sets for text in labels]
    rows = np.repeat(np.arange(len(sets)), [len(labels) for labels in sets])
    if not texts:
        raise UserError(f"{where}: no example has a label.")
    own = None if places is None else [places[row] for row in rows]
    names, labels = number_labels(texts, own, known, where)
    table = np.zeros((len(sets), len(names)), "uint8")
    table[rows, labels] = 1
    return names, table


def rarest_labels(labels: np.ndarray) -> np.ndarray:
    """The rarest label of each example, int64 `(n,)`, of uint8 `(n, classes)`; -1 for an example without labels."""
    counts = np.where(labels > 0, labels.sum(axis=0, dtype="int64"), np.inf)
    return np.where(labels.any(axis=1), counts.argmin(axis=1), -1)


def is_one_hot(labels: np.ndarray) -> bool:
    """Whether every row of uint8 `(n, classes)` has exactly one label."""
    return bool((labels.sum(axis=1) == 1).all())
