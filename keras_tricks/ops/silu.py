"""SiLU (swish) that keeps only its input for the backward pass."""

import functools
from typing import Any

import keras

from keras_tricks.ops.elementwise import elementwise


def silu(inputs: Any) -> Any:
    """`keras.ops.silu`, x * sigmoid(x), with a gradient that is computed from the input; see `elementwise`.

    The values and gradients differ from those of Keras and automatic differentiation by rounding.

    Args:
        inputs: float tensor of any shape.

    Returns:
        A tensor with the shape and dtype of `inputs`.
    """
    return _function()(inputs)


def silu_slope(x: Any) -> Any:
    """The derivative of SiLU at `x`, a float tensor of any shape."""
    sigmoid = keras.ops.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


@functools.cache
def _function():
    return elementwise(keras.ops.silu, silu_slope)
