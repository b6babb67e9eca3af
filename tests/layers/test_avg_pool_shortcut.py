"""The ResNet-D shortcut against numpy."""

import numpy as np
import pytest

from keras_tricks.layers import AvgPoolShortcut


def pooled(x):
    """Mean of 2x2 windows; the last windows of an odd size average the pixels they have."""
    rows = [x[:, i : i + 2].mean(axis=1, keepdims=True) for i in range(0, x.shape[1], 2)]
    x = np.concatenate(rows, axis=1)
    return np.concatenate([x[:, :, i : i + 2].mean(axis=2, keepdims=True) for i in range(0, x.shape[2], 2)], axis=2)


def apply(layer, x):
    """The layer's output, and its kernel as a matrix."""
    y = layer(x)
    return np.asarray(y), layer.get_weights()[0][0, 0]


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (7, 4)])
def test_equals_numpy(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    layer = AvgPoolShortcut(4)
    y, kernel = apply(layer, x)
    np.testing.assert_allclose(y, pooled(x) @ kernel / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)
    assert y.shape == layer.compute_output_shape(x.shape) == (2, -(-size[0] // 2), -(-size[1] // 2), 4)


def test_no_pooling_at_stride_one():
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    y, kernel = apply(AvgPoolShortcut(4, strides=1), x)
    np.testing.assert_allclose(y, x @ kernel / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)


def test_the_convolution_has_no_stride_and_no_bias():
    layer = AvgPoolShortcut(8)
    layer.build((1, 4, 4, 3))
    assert sorted(tuple(w.shape) for w in layer.trainable_weights) == [(1, 1, 3, 8), (8,), (8,)]
    assert next(sub for sub in layer.layers if sub.name == "conv").strides == (1, 1)
