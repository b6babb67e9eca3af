"""Wilson's interval beside SciPy's, and counts beside NumPy's."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_tricks.analysis import ClassCounts, Evaluation, wilson_interval


@pytest.mark.parametrize("successes, n", [(8, 10), (0, 10), (10, 10), (570, 599), (1, 2), (38_000, 50_000)])
def test_wilson(successes, n):
    theirs = stats.binomtest(successes, n).proportion_ci(0.95, "wilson")
    assert wilson_interval(successes, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_wilson_in_numbers():
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # R's prop.test(8, 10, correct=FALSE)


def test_wilson_without_examples():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_counts_by_class():
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 4, 50), (rng.random(50) < 0.7).astype("float32")
    logits = rng.normal(size=(50, 5)).astype("float32")
    metric = ClassCounts(5)
    for start in range(0, 50, 20):
        part = slice(start, start + 20)
        metric.update_state(np.eye(5)[labels[part]], logits[part], weights[part])
    images, correct = metric.counts()
    kept = weights == 1
    right = logits.argmax(1) == labels
    np.testing.assert_array_equal(images, np.bincount(labels[kept], minlength=5))
    np.testing.assert_array_equal(correct, np.bincount(labels[kept & right], minlength=5))
    assert float(keras.ops.convert_to_numpy(metric.result())) == pytest.approx(right[kept].mean())
    metric.reset_state()
    assert metric.counts()[0].sum() == 0 and float(keras.ops.convert_to_numpy(metric.result())) == 0


def test_the_worst_classes():
    found = Evaluation(1.0, 0.5, 1.0, ("a", "b", "c", "d"), np.array([10, 0, 4, 2]), np.array([9, 0, 1, 2]))
    assert found.n == 16 and found.interval == wilson_interval(12, 16)
    assert found.worst(2) == [("c", 0.25, 4), ("a", 0.9, 10)]
    assert [name for name, *_ in found.worst()] == ["c", "a", "d"], "a class without images has no accuracy"
