"""Metrics of images with several labels, against scikit-learn and Keras."""

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from keras_tricks.analysis import LabelCounts, MacroF1, MeanAveragePrecision, is_best_right

RNG = np.random.default_rng(0)
N, CLASSES = 400, 5
LABELS = (RNG.random((N, CLASSES)) < (0.5, 0.1, 0.02, 0.9, 0.3)).astype("float32")
LOGITS = (3 * RNG.normal(size=(N, CLASSES)) + 2 * LABELS - 1).astype("float32")
ON_GRID = np.floor(LOGITS * 64) / 64  # in the middle of no bin: logits of one bin are equal


def in_batches(metric, labels=LABELS, logits=LOGITS, weights=None, size=70):
    for start in range(0, len(labels), size):
        part = slice(start, start + size)
        metric.update_state(labels[part], logits[part], None if weights is None else weights[part])
    return float(metric.result())


def test_map_is_that_of_scikit_learn():
    expected = average_precision_score(LABELS, ON_GRID, average="macro")
    assert in_batches(MeanAveragePrecision(CLASSES), logits=ON_GRID) == pytest.approx(expected, abs=1e-6)
    exact = average_precision_score(LABELS, LOGITS, average="macro")
    assert in_batches(MeanAveragePrecision(CLASSES)) == pytest.approx(exact, abs=2e-3)


def test_classes_without_a_positive_do_not_count():
    labels = LABELS.copy()
    labels[:, 2] = 0
    expected = average_precision_score(labels[:, [0, 1, 3, 4]], ON_GRID[:, [0, 1, 3, 4]], average="macro")
    assert in_batches(MeanAveragePrecision(CLASSES), labels, ON_GRID) == pytest.approx(expected, abs=1e-6)
    assert in_batches(MeanAveragePrecision(CLASSES), np.zeros_like(labels)) == 0


def test_logits_beyond_the_range_are_ties():
    labels, logits = np.array([[1.0], [0.0], [1.0]]), np.array([[1e9], [-1e9], [3.0]])
    assert in_batches(MeanAveragePrecision(1), labels, logits) == 1.0


def test_f1_is_that_of_scikit_learn_and_keras():
    expected = f1_score(LABELS, LOGITS > 0, average="macro", zero_division=0)
    assert in_batches(MacroF1(CLASSES)) == pytest.approx(expected, abs=1e-6)
    theirs = keras.metrics.F1Score(average="macro", threshold=0.5)
    theirs.update_state(LABELS, 1 / (1 + np.exp(-LOGITS)))
    assert in_batches(MacroF1(CLASSES)) == pytest.approx(float(theirs.result()), abs=1e-5)


@pytest.mark.parametrize("make", [MeanAveragePrecision, MacroF1, LabelCounts])
def test_images_of_weight_0_do_not_count(make):
    weights = (np.arange(N) % 3 > 0).astype("float32")
    kept = weights > 0
    assert in_batches(make(CLASSES), weights=weights) == pytest.approx(in_batches(make(CLASSES), LABELS[kept],
                                                                                 LOGITS[kept]), abs=1e-6)


def test_counts_of_each_class():
    metric = LabelCounts(CLASSES)
    in_batches(metric, weights=np.ones(N, "float32"))
    images, found = metric.counts()
    assert images.tolist() == LABELS.sum(0).tolist() and metric.total() == N
    assert found.tolist() == ((LOGITS > 0) & (LABELS > 0)).sum(0).tolist()


def test_the_best_class_is_one_of_the_labels():
    right = keras.ops.convert_to_numpy(is_best_right(LABELS, LOGITS))
    assert right.tolist() == LABELS[np.arange(N), LOGITS.argmax(1)].tolist()
    one_hot = np.eye(CLASSES, dtype="float32")[RNG.integers(0, CLASSES, N)]
    assert float(np.mean(keras.ops.convert_to_numpy(is_best_right(one_hot, LOGITS)))) == pytest.approx(
        float(keras.ops.mean(keras.metrics.categorical_accuracy(one_hot, LOGITS))))


@pytest.mark.parametrize("make", [MeanAveragePrecision, MacroF1])
def test_config(make):
    assert make.from_config(make(CLASSES).get_config()).classes == CLASSES
