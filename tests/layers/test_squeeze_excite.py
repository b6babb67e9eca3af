"""Squeeze and excitation against its formula."""

import keras
import numpy as np

import keras_tricks as kt


def test_follows_the_formula():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype("float32")
    layer = kt.layers.SqueezeExcite(0.25, scale=2.0)
    y = layer(x)
    w1, b1, w2, b2 = (w.numpy() for w in layer.weights)
    assert w1.shape == (8, 2) and w2.shape == (2, 8)
    hidden = np.maximum(x.mean((1, 2)) @ w1 + b1, 0)
    gate = 1 / (1 + np.exp(-(hidden @ w2 + b2)))
    np.testing.assert_allclose(y, 2 * x * gate[:, None, None], rtol=1e-5, atol=1e-6)


def test_gate_of_the_mean_image_is_one_at_scale_two():
    """sigmoid(0) * 2 = 1: an image of mean zero is unchanged, which is why normalizer-free networks double the gate."""
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype("float32")
    x -= x.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(kt.layers.SqueezeExcite(scale=2.0)(x), x, rtol=1e-5)


def test_cost_counts_the_dense_layers():
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, kt.layers.SqueezeExcite(0.5)(image))
    assert kt.analysis.cost(model).macs == 2 * 8 * 4
