"""SkipGain: one trained scalar."""

import numpy as np

import keras_tricks as kt


def test_closed_then_open():
    x = np.ones((2, 3), "float32")
    layer = kt.layers.SkipGain(scale=0.2)
    assert not np.any(layer(x))
    layer.gain.assign(3.0)
    np.testing.assert_allclose(layer(x), 0.6 * x, rtol=1e-6)
    assert layer.gain.shape == () and layer.count_params() == 1


def test_initial_value():
    np.testing.assert_allclose(kt.layers.SkipGain(16**-0.5)(np.ones((1, 1), "float32")), [[0.25]])
