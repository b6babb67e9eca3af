"""GELU with a gradient computed from its input, against automatic differentiation of Keras' GELU."""

import keras
import numpy as np
import pytest
from support.gradients import gradient

import keras_tricks as kt

X = np.concatenate([np.linspace(-8, 8, 401), [-1e4, 1e4]])


@pytest.mark.parametrize("approximate", [False, True])
def test_values_are_those_of_keras_and_gradients_of_automatic_differentiation(approximate):
    x = X.astype("float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kt.ops.gelu(x, approximate)),
                                  keras.ops.convert_to_numpy(keras.ops.gelu(x, approximate=approximate)))
    found = gradient(lambda x: kt.ops.gelu(x, approximate), x)
    np.testing.assert_allclose(found, gradient(lambda x: keras.ops.gelu(x, approximate=approximate), x), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_finite(dtype):
    x = keras.ops.cast(np.linspace(-200, 200, 101), dtype)
    for approximate in (False, True):
        found = gradient(lambda x, approximate=approximate: kt.ops.gelu(x, approximate), x)
        assert np.isfinite(found.astype("float32")).all()
        assert found[-1] == 1 and abs(float(found[0])) < 1e-20


def test_the_layer_uses_it_in_training_only():
    layer = kt.layers.ScaledActivation("gelu", scale=0.5)
    x = X.astype("float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=True)),
                                  keras.ops.convert_to_numpy(layer(x, training=False)))
    in_training, otherwise = (gradient(lambda x, on=on: layer(x, training=on), x) for on in (True, False))
    np.testing.assert_allclose(in_training, otherwise, atol=1e-5)
    assert not np.array_equal(in_training, otherwise)  # other rounding: another function
