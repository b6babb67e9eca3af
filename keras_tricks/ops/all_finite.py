"""Checks gradients for infinity and NaN."""

import keras


def all_finite(gradients):
    """Whether all values of all gradients are finite, a bool scalar."""
    flags = [keras.ops.all(keras.ops.isfinite(g)) for g in gradients if g is not None]
    return keras.ops.all(keras.ops.stack(flags))
