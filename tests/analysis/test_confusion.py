"""The confusion matrix beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from keras_tricks.analysis import confusion


@pytest.mark.parametrize("classes, n", [(2, 50), (7, 300), (1000, 3000)])
def test_the_matrix_is_scikit_learns(classes, n):
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, classes, (2, n))
    found = confusion(labels, predicted, classes)
    np.testing.assert_array_equal(found.matrix(), confusion_matrix(labels, predicted, labels=np.arange(classes)))
    assert len(found.images) <= n and found.images.sum() == n


def test_blocks_of_classes():
    found = confusion([0, 1, 2, 9], [1, 0, 9, 9], 10)
    np.testing.assert_array_equal(found.matrix(4), [[2, 0, 0, 1], [0] * 4, [0] * 4, [0, 0, 0, 1]])
    assert found.matrix(10).shape == (10, 10)


def test_the_most_frequent_mistakes():
    found = confusion([0, 0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 1, 0, 0], 3)
    assert found.pairs(2) == [(0, 1, 2), (2, 0, 2)] and found.pairs()[-1] == (1, 0, 1)
    assert confusion([0, 1], [0, 1], 2).pairs() == []
