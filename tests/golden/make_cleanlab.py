"""Suspicious labels of cleanlab 2.9.0.  Run: python tests/golden/make_cleanlab.py"""

import json
import pathlib

import numpy as np


def answers(seed, n=300, classes=5):
    """(probabilities, labels) with some wrong labels."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 2.5 * np.eye(classes)[true]
    labels = np.where(rng.random(n) < 0.1, (true + 1 + rng.integers(0, classes - 1, n)) % classes, true)
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


def label_sets(seed, n=300, classes=4):
    """(probabilities, labels `(n, classes)`) of images with several labels, some of them wrong."""
    rng = np.random.default_rng(seed)
    true = rng.random((n, classes)) < rng.uniform(0.1, 0.6, classes)
    logits = 2.0 * rng.normal(size=(n, classes)) + 4.0 * true - 2.0
    labels = np.where(rng.random((n, classes)) < 0.05, ~true, true)
    return 1.0 / (1.0 + np.exp(-logits)), labels.astype("int64")


def issues_of_sets(seed):
    """For each class, the images whose label in it is suspicious, the most suspicious first."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    probabilities, labels = label_sets(seed)
    found, _, _ = find_multilabel_issues_per_class(
        [np.flatnonzero(row).tolist() for row in labels], probabilities, filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin")
    return [[int(i) for i in examples] for examples in found]


if __name__ == "__main__":
    from cleanlab.filter import find_label_issues

    rows = {str(seed): [int(i) for i in find_label_issues(
        answers(seed)[1], answers(seed)[0], filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin")] for seed in range(3)}
    pathlib.Path(__file__).with_name("cleanlab.json").write_text(json.dumps(rows, indent=1) + "\n")
    sets = {str(seed): issues_of_sets(seed) for seed in range(3)}
    pathlib.Path(__file__).with_name("cleanlab_sets.json").write_text(json.dumps(sets) + "\n")
