"""GELU that keeps only its input for the backward pass."""

import functools
import math
from typing import Any

import keras

from keras_tricks.ops.elementwise import elementwise

TANH_SLOPE, CUBIC = math.sqrt(2 / math.pi), 0.044715  # of the approximation, Hendrycks & Gimpel 2016, arXiv:1606.08415


def gelu(inputs: Any, approximate: bool = False) -> Any:
    """`keras.ops.gelu` with a gradient that is computed from the input; see `elementwise`.

    The values and gradients differ from those of Keras and automatic differentiation by rounding.

    Args:
        inputs: float tensor of any shape.
        approximate: bool, whether to use the approximation by tanh. Defaults to `False`.

    Returns:
        A tensor with the shape and dtype of `inputs`.
    """
    return _function(approximate)(inputs)


def gelu_slope(x: Any, approximate: bool = False) -> Any:
    """The derivative of GELU at `x`, a float tensor of any shape."""
    ops = keras.ops
    x = ops.clip(x, -10.0, 10.0)  # outside, the slope is 0 or 1, and powers overflow in float16
    if approximate:
        square = ops.square(x)
        tanh = ops.tanh(TANH_SLOPE * x * (1 + CUBIC * square))
        return 0.5 * (1 + tanh) + 0.5 * x * (1 - ops.square(tanh)) * TANH_SLOPE * (1 + 3 * CUBIC * square)
    density = ops.exp(-0.5 * ops.square(x)) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + ops.erf(x / math.sqrt(2))) + x * density


@functools.cache
def _function(approximate):
    value = functools.partial(keras.ops.gelu, approximate=approximate)
    return elementwise(value, functools.partial(gelu_slope, approximate=approximate))
