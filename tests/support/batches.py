"""Comparison of two lists of batches."""

import numpy as np


def assert_same(some, others):
    """Equal lists of tuples of arrays, to the bit, and not empty."""
    assert len(some) == len(others) > 0
    for a, b in zip(some, others, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
