"""Labels that are probably wrong, by confident learning.

Formula    t_j = mean of p_j over the images labelled j; the guess is the class k with the largest p_k >= t_k; an image
           whose guess is another class than its label y is suspicious, most of all if p_y - max_{k != y} p_k is low
Paper      Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, section 3.1: the cells off the diagonal of the confident
           joint; cleanlab's `filter_by="confident_learning"`, ranked by its normalized margin
With several labels an image each class is a question with two answers, p and 1 - p, as in cleanlab's
`multilabel_classification`.

Use when   the network has not been trained on these images: a network learns wrong labels by heart
"""

from typing import Any

import numpy as np


def label_issues(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The suspicious labels, the most suspicious first.

    Args:
        probabilities: float array `(n, classes)`, of each class.
        labels: integer array `(n,)`, in [0, `classes`).

    Returns:
        Two int64 arrays `(issues,)`: indices of the examples, and the class that each probably has.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels, "int64")
    classes = probabilities.shape[1]
    images = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    thresholds = np.bincount(labels, weights=own, minlength=classes) / np.maximum(images, 1)
    confident = (probabilities >= thresholds - 1e-6) & (images > 0)
    guesses = np.where(confident, probabilities, -1.0).argmax(axis=1)
    found = np.flatnonzero(confident.any(axis=1) & (guesses != labels))
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1.0
    margins = own - others.max(axis=1)
    found = found[np.argsort(margins[found], kind="stable")]
    return found, guesses[found]


def label_set_issues(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The suspicious labels of images with several, the most suspicious first.

    A label is suspicious if the image has it and the network contradicts it, or the other way round.

    Args:
        probabilities: float array `(n, classes)`, of each class alone.
        labels: array `(n, classes)` of 0 and 1.

    Returns:
        Two int64 arrays `(issues,)`: indices of the examples, and the class in question.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels, "int64")
    found = [label_issues(np.stack([1.0 - p, p], axis=1), own)[0] for p, own in zip(probabilities.T, labels.T,
                                                                                   strict=True)]
    classes = np.repeat(np.arange(len(found)), [len(examples) for examples in found])
    examples = np.concatenate(found).astype("int64")
    own = np.abs(probabilities + labels - 1.0)[examples, classes]  # the probability of the label as it is
    order = np.argsort(own, kind="stable")
    return examples[order], classes[order]
