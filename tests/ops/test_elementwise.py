"""GELU and SiLU with a gradient computed from the input, against Keras' and automatic differentiation."""

import functools

import keras
import numpy as np
import pytest
from support.gradients import gradient

import keras_tricks as kt

X = np.concatenate([np.linspace(-8, 8, 401), [-1e4, 1e4]])


EXACT, TANH = {"approximate": False}, {"approximate": True}
PAIRS = {  # ours, Keras'
    "gelu": (functools.partial(kt.ops.gelu, **EXACT), functools.partial(keras.ops.gelu, **EXACT)),
    "gelu_tanh": (functools.partial(kt.ops.gelu, **TANH), functools.partial(keras.ops.gelu, **TANH)),
    "silu": (kt.ops.silu, keras.ops.silu),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_are_those_of_keras_and_gradients_of_automatic_differentiation(name):
    (ours, of_keras), x = PAIRS[name], X.astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(x)), keras.ops.convert_to_numpy(of_keras(x)),
                               rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient(ours, x), gradient(of_keras, x), atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_finite_and_rounded_once(name, dtype):
    ours, of_keras = PAIRS[name]
    x = keras.ops.cast(np.linspace(-200, 200, 101), dtype)
    found = gradient(ours, x)
    assert np.isfinite(found.astype("float32")).all()
    assert found[-1] == 1 and abs(float(found[0])) < 1e-6
    if keras.backend.backend() == "tensorflow":  # in one pass, in float32
        x = keras.ops.cast(np.linspace(-4, 4, 101), dtype)
        expected = keras.ops.cast(of_keras(keras.ops.cast(x, "float32")), dtype)
        values = (keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")) for y in (ours(x), expected))
        np.testing.assert_allclose(*values, rtol=1e-2, atol=1e-6)


def test_float64_keeps_its_digits():
    x = np.linspace(-4, 4, 101)
    keras_64 = keras.ops.convert_to_numpy(keras.ops.silu(keras.ops.convert_to_tensor(x, dtype="float64")))
    ours = keras.ops.convert_to_numpy(kt.ops.silu(keras.ops.convert_to_tensor(x, dtype="float64")))
    np.testing.assert_allclose(ours, keras_64, rtol=1e-12 if ours.dtype == "float64" else 1e-5)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_any_number_of_values(size):
    x = np.ones((size, 2), "float32")
    assert gradient(kt.ops.gelu, x).shape == (size, 2)


def test_the_layer_uses_it_in_training_only():
    layer = kt.layers.ScaledActivation("gelu", scale=0.5)
    x = X.astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, training=True)),
                               keras.ops.convert_to_numpy(layer(x, training=False)), rtol=1e-6, atol=1e-6)
    in_training, otherwise = (gradient(lambda x, on=on: layer(x, training=on), x) for on in (True, False))
    np.testing.assert_allclose(in_training, otherwise, atol=1e-5)
    assert not np.array_equal(in_training, otherwise)  # other rounding: another function
