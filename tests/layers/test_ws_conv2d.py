"""Plain weight standardization against its formula."""

import keras
import numpy as np

import keras_tricks as kt


def test_kernel_follows_the_formula():
    layer = kt.layers.WSConv2D(4, 3, eps=1e-3, kernel_initializer=keras.initializers.RandomNormal(0.5, 0.1, seed=1))
    layer.build((None, 5, 5, 2))
    w = layer.kernel.numpy().astype("float64")
    expected = (w - w.mean((0, 1, 2))) / (w.std((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(layer.standardized_kernel(), expected, rtol=1e-4, atol=1e-5)


def test_call_convolves_with_that_kernel():
    layer = kt.layers.WSConv2D(4, 3, groups=2, use_bias=False)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")
    y = layer(x)
    plain = keras.layers.Conv2D(4, 3, groups=2, use_bias=False)
    plain.build(x.shape)
    plain.kernel.assign(layer.standardized_kernel())
    np.testing.assert_allclose(y, plain(x), atol=1e-5)


def test_a_constant_kernel_gives_zeros_and_finite_gradients():
    w = keras.ops.ones((3, 3, 2, 4))
    assert not np.any(kt.ops.divide_by_std(w))
