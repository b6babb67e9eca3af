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


if __name__ == "__main__":
    from cleanlab.filter import find_label_issues

    rows = {str(seed): [int(i) for i in find_label_issues(
        answers(seed)[1], answers(seed)[0], filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin")] for seed in range(3)}
    pathlib.Path(__file__).with_name("cleanlab.json").write_text(json.dumps(rows, indent=1) + "\n")
