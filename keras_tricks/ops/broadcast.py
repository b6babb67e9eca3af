"""A small parameter added to a large tensor or multiplied with it: its gradient is a sum, which is made in float32.

A sum kept in bfloat16 stops growing at about 256 times the size of its terms. So TensorFlow 2.21 sums the gradient of a
bias on a CPU, and a convolution over large images gets a small part of it. XLA on a CPU rounds such sums as well.
"""

from typing import Any

import keras

from keras_tricks.utils.backend import upstream_of


def add_parameter(x: Any, parameter: Any) -> Any:
    """`x + parameter`. In bfloat16 and float16 the gradient of the parameter is summed in float32.

    Args:
        x: float tensor of any shape.
        parameter: tensor of the same dtype that broadcasts to the shape of `x`, such as a bias `(channels,)`.
    """
    if not _is_half(x):
        return keras.ops.add(x, parameter)

    @keras.ops.custom_gradient
    def add(x, parameter):
        def gradient(*positional, **keywords):
            slope = upstream_of(positional, keywords)
            return slope, _sum_like(slope, parameter)

        return x + parameter, gradient

    return add(x, keras.ops.convert_to_tensor(parameter))


def multiply_parameter(x: Any, parameter: Any) -> Any:
    """`x * parameter`. In bfloat16 and float16 the gradient of the parameter is summed in float32.

    Args:
        x: float tensor of any shape.
        parameter: tensor of the same dtype that broadcasts to the shape of `x`, such as a scalar.
    """
    if not _is_half(x):
        return keras.ops.multiply(x, parameter)

    @keras.ops.custom_gradient
    def multiply(x, parameter):
        def gradient(*positional, **keywords):
            slope = upstream_of(positional, keywords)
            products = keras.ops.cast(slope, "float32") * keras.ops.cast(x, "float32")
            return slope * parameter, _sum_like(products, parameter)

        return x * parameter, gradient

    return multiply(x, keras.ops.convert_to_tensor(parameter))


def _is_half(x):
    return keras.backend.standardize_dtype(x.dtype) in ("bfloat16", "float16")


def _sum_like(x, parameter):
    """The sum of `x` over the axes along which a parameter is repeated, with the shape and dtype of the parameter."""
    missing = len(x.shape) - len(parameter.shape)
    repeated = [missing + i for i, size in enumerate(parameter.shape) if size == 1]
    total = keras.ops.sum(keras.ops.cast(x, "float32"), axis=(*range(missing), *repeated))
    return keras.ops.cast(keras.ops.reshape(total, parameter.shape), parameter.dtype)
