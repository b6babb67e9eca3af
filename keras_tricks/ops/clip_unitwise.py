"""Unit-wise norms and clipping: the pure functions behind adaptive gradient clipping.

A unit is one output of a layer: a column of a dense kernel, a filter of a convolution. Kernels are in Keras' layout.
"""

import keras


def unit_axes(shape, depthwise=False):
    """The axes over which one unit's norm is taken.

    Args:
        shape: of the kernel. Dense `(in, out)`, convolution `(..., in / groups, out)`, depthwise
            `(..., channels, multiplier)`.
        depthwise: bool, whether it is a depthwise kernel, whose units are pairs of channel and copy.

    Returns:
        A tuple of axes, `None` for a scalar or a vector: one norm for the whole tensor.
    """
    if len(shape) < 2:
        return None
    return tuple(range(len(shape) - (2 if depthwise else 1)))


def unitwise_norm(x, axes):
    """L2 norm over `axes`, kept as axes of size 1; over everything when `axes` is `None`. float32 or wider."""
    ops = keras.ops
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=axes is not None))


def clip_unitwise(gradient, weight, axes, clip_factor=0.01, eps=1e-3):
    """Scales down every unit whose gradient norm exceeds `clip_factor` times its weight norm.

    Args:
        gradient, weight: tensors of one shape.
        axes: see `unit_axes`.
        clip_factor: float > 0, largest ratio of gradient norm to weight norm.
        eps: float > 0, floor of the weight norm, so that zero-initialized weights still move.

    Returns:
        The clipped gradient, in the gradient's dtype.
    """
    ops = keras.ops
    limit = clip_factor * ops.maximum(unitwise_norm(weight, axes), eps)
    norm = unitwise_norm(gradient, axes)
    scale = ops.where(norm > limit, limit / ops.maximum(norm, 1e-6), ops.ones_like(norm))
    return gradient * ops.cast(scale, gradient.dtype)
