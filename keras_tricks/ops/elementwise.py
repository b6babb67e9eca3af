"""Elementwise functions that keep only their input for the backward pass."""

from collections.abc import Callable
from typing import Any

import keras

from keras_tricks.utils.backend import in_one_pass, upstream_of


def elementwise(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A differentiable function from a formula of its value and one of its derivative, both of the input.

    Automatic differentiation keeps the intermediate tensors of the formula until the backward pass, this function only
    the input, which the layer before often keeps as well. On a CPU under TensorFlow each formula is compiled into one
    pass over memory, which computes in float32 or wider.

    Args:
        value: function of a float tensor of any shape, f.
        slope: function of a float tensor of any shape, f'.

    Returns:
        A function of a float tensor; its output has the shape and dtype of the input.
    """
    forward, backward = in_one_pass(value), in_one_pass(lambda x, upstream: upstream * slope(x))

    @keras.ops.custom_gradient
    def function(x):
        def gradient(*positional, **keywords):
            return backward(x, upstream_of(positional, keywords))

        return forward(x), gradient

    return function
