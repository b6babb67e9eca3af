"""GELU that keeps only its input for the backward pass."""

import math
from typing import Any

import keras

TANH_SLOPE, CUBIC = math.sqrt(2 / math.pi), 0.044715  # of the approximation, Hendrycks & Gimpel 2016, arXiv:1606.08415


def gelu(inputs: Any, approximate: bool = False) -> Any:
    """`keras.ops.gelu` with a gradient that is computed from the input.

    Automatic differentiation keeps up to four tensors of the input's size until the backward pass, this one the input,
    which the layer before often keeps as well. The values are those of Keras to the bit; the gradients differ from
    those of automatic differentiation by rounding.

    Args:
        inputs: float tensor of any shape.
        approximate: bool, whether to use the approximation by tanh. Defaults to `False`.

    Returns:
        A tensor with the shape and dtype of `inputs`.
    """
    ops = keras.ops

    def slope(x):
        x = ops.clip(x, -10.0, 10.0)  # outside, the slope is 0 or 1, and powers overflow in float16
        if approximate:
            square = ops.square(x)
            tanh = ops.tanh(TANH_SLOPE * x * (1 + CUBIC * square))
            return 0.5 * (1 + tanh) + 0.5 * x * (1 - ops.square(tanh)) * TANH_SLOPE * (1 + 3 * CUBIC * square)
        density = ops.exp(-0.5 * ops.square(x)) / math.sqrt(2 * math.pi)
        return 0.5 * (1 + ops.erf(x / math.sqrt(2))) + x * density

    @ops.custom_gradient
    def function(x):
        def gradient(*upstream, **keyword):  # by position or as `upstream=`: the backends differ
            return keyword.get("upstream", upstream[0] if upstream else None) * slope(x)

        return ops.gelu(x, approximate=approximate), gradient

    return function(inputs)
