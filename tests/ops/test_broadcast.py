"""A small parameter and a large tensor, added or multiplied in half precision: the gradient is summed in float32."""

import keras
import numpy as np
import pytest
from support.gradients import gradient

import keras_tricks as kt

ROWS = np.random.default_rng(0).normal(0.5, 1.0, (4, 128, 128, 3))  # 65,536 numbers a channel


def as_numbers(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype("float64")


def weighted(function, x):
    """The gradient of sum(ROWS * function(x, parameter)) with respect to the parameter is a sum over ROWS."""
    rows = keras.ops.cast(ROWS, x.dtype)
    return lambda parameter: function(x, parameter) * rows


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_sums_in_float32(shape, dtype):
    x = keras.ops.cast(np.random.default_rng(1).normal(1.0, 0.1, ROWS.shape), dtype)
    rows, images = as_numbers(keras.ops.cast(ROWS, dtype)), as_numbers(x)
    axes = (0, 1, 2) if shape else None
    parameter = keras.ops.cast(np.ones(shape), dtype)
    for function, terms in ((kt.ops.add_parameter, rows), (kt.ops.multiply_parameter, rows * images)):
        expected = terms.sum(axis=axes).reshape(shape)
        found = gradient(weighted(function, x), parameter).astype("float64")
        np.testing.assert_allclose(found, expected, rtol=0.005 if dtype == "bfloat16" else 1e-5)


@pytest.mark.parametrize("function", ["add_parameter", "multiply_parameter"])
def test_values_and_the_other_gradient_are_those_of_keras(function):
    plain = {"add_parameter": keras.ops.add, "multiply_parameter": keras.ops.multiply}[function]
    x, parameter = keras.ops.cast(ROWS, "bfloat16"), keras.ops.cast([1.5, -2.0, 0.25], "bfloat16")
    for get in (lambda f: f(x, parameter), lambda f: gradient(lambda x: f(x, parameter), x)):
        np.testing.assert_array_equal(as_numbers(get(getattr(kt.ops, function))), as_numbers(get(plain)))


def sum_of_products(rows, outputs):
    """A loss whose gradient is `rows`."""
    return keras.ops.sum(rows * keras.ops.cast(outputs, "float32"), axis=(1, 2, 3))


@pytest.mark.parametrize("kind", ["GroupedConv2D", "ScaledWSConv2D", "WSConv2D", "WhiteningConv2D"])
def test_the_bias_of_a_convolution(kind):
    options = {"kernel_size": 2} if kind == "WhiteningConv2D" else {"kernel_size": 1}
    layer = getattr(kt.layers, kind)(24, **options, dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((96, 96, 3)), layer])
    rows = np.random.default_rng(2).normal(0.5, 1.0, (8, *model.output_shape[1:])).astype("float32")
    model.compile(keras.optimizers.SGD(1.0), sum_of_products, jit_compile=keras.backend.backend() == "jax")
    model.train_on_batch(np.zeros((8, 96, 96, 3), "float32"), rows)
    np.testing.assert_allclose(-8 * np.asarray(keras.ops.convert_to_numpy(layer.bias)), rows.sum((0, 1, 2)), rtol=0.01)
