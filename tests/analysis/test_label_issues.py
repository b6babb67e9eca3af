"""Suspicious labels are those of cleanlab's confident learning, in its order."""

import json
import pathlib

import numpy as np
import pytest

from keras_tricks.analysis import label_issues, label_set_issues

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "cleanlab.json").read_text())
GOLDEN_SETS = json.loads((FOLDER / "cleanlab_sets.json").read_text())


def answers(seed, n=300, classes=5):
    """As in tests/golden/make_cleanlab.py: probabilities, labels, true classes."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 2.5 * np.eye(classes)[true]
    labels = np.where(rng.random(n) < 0.1, (true + 1 + rng.integers(0, classes - 1, n)) % classes, true)
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels, true


@pytest.mark.parametrize("seed", GOLDEN)
def test_equals_cleanlab(seed):
    probabilities, labels, true = answers(int(seed))
    found, guesses = label_issues(probabilities, labels)
    assert found.tolist() == GOLDEN[seed]
    wrong = labels != true
    assert wrong[found].mean() > 0.6 and (guesses == true[found]).mean() > 0.6


def test_a_class_without_images_and_no_issue():
    found, guesses = label_issues([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], [0, 1])
    assert found.tolist() == [] and guesses.tolist() == []
    assert label_issues([[0.1, 0.1, 0.8], [0.2, 0.8, 0.0]], [0, 1])[0].tolist() == []  # no image is labelled 2


def label_sets(seed, n=300, classes=4):
    """As in tests/golden/make_cleanlab.py: probabilities, labels, true labels."""
    rng = np.random.default_rng(seed)
    true = rng.random((n, classes)) < rng.uniform(0.1, 0.6, classes)
    logits = 2.0 * rng.normal(size=(n, classes)) + 4.0 * true - 2.0
    labels = np.where(rng.random((n, classes)) < 0.05, ~true, true)
    return 1.0 / (1.0 + np.exp(-logits)), labels.astype("int64"), true


@pytest.mark.parametrize("seed", GOLDEN_SETS)
def test_several_labels_equal_cleanlab(seed):
    probabilities, labels, true = label_sets(int(seed))
    examples, classes = label_set_issues(probabilities, labels)
    assert [examples[classes == k].tolist() for k in range(4)] == GOLDEN_SETS[seed]
    own = np.where(labels, probabilities, 1.0 - probabilities)[examples, classes]
    assert (np.diff(own) >= 0).all()
    wrong = labels != true
    assert wrong[examples, classes].mean() > 3 * wrong.mean()
