"""ScalarBias: one trained scalar, added."""

import numpy as np

import keras_tricks as kt


def test_adds_one_number():
    layer = kt.layers.ScalarBias()
    x = np.ones((2, 3, 3, 4), "float32")
    np.testing.assert_array_equal(layer(x), x)
    layer.bias.assign(-0.5)
    np.testing.assert_array_equal(layer(x), x - 0.5)
    assert layer.count_params() == 1
