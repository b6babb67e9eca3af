"""Unit-wise norms and clipping: the pure functions behind adaptive gradient clipping.

A unit is one output of a layer: a column of a dense kernel or a filter of a convolution. Kernels have Keras' layout.
"""

from collections.abc import Sequence
from typing import Any

import keras


def unit_axes(shape: Sequence[int], depthwise: bool = False) -> tuple[int, ...] | None:
    """The axes over which the norm of a unit is computed.

    Args:
        shape: shape of the kernel: dense `(in, out)`, convolution `(..., in / groups, out)`, depthwise
            `(..., channels, multiplier)`.
        depthwise: bool, whether the kernel is depthwise, with pairs of channel and copy as units. Defaults to `False`.

    Returns:
        A tuple of axes, or `None` for a scalar or a vector, which has one norm for the whole tensor.
    """
    if len(shape) < 2:
        return None
    return tuple(range(len(shape) - (2 if depthwise else 1)))


def unitwise_norm(x: Any, axes: Sequence[int] | None) -> Any:
    """L2 norm over `axes`, kept as axes of size 1; over all elements when `axes` is `None`. float32 or wider."""
    ops = keras.ops
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=axes is not None))


def clip_unitwise(gradient: Any, weight: Any, axes: Sequence[int] | None, clip_factor: float = 0.01,
                  eps: float = 1e-3) -> Any:
    """Scales down every unit whose gradient norm exceeds `clip_factor` times its weight norm.

    Args:
        gradient, weight: tensors of the same shape.
        axes: see `unit_axes`.
        clip_factor: float > 0, largest ratio of gradient norm to weight norm. Defaults to `0.01`.
        eps: float > 0, lower bound of the weight norm, so that zero-initialized weights can change. Defaults to `1e-3`.

    Returns:
        The clipped gradient, in the dtype of the gradient.
    """
    ops = keras.ops
    limit = clip_factor * ops.maximum(unitwise_norm(weight, axes), eps)
    norm = unitwise_norm(gradient, axes)
    scale = ops.where(norm > limit, limit / ops.maximum(norm, 1e-6), ops.ones_like(norm))
    return gradient * ops.cast(scale, gradient.dtype)
