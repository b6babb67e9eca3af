"""Weight standardization: the pure functions behind the convolutions of normalizer-free networks.

Kernels are in Keras' layout `(..., in / groups, out)`; a unit is one output channel, its fan-in everything else.
"""

import math

import keras

EPS_MODES = ("max", "add")


def standardize_kernel(kernel, gain=None, eps=1e-4, eps_mode="max", scale=1.0):
    """Scaled weight standardization: every unit gets mean 0 and L2 norm `scale * gain`.

    The statistics are biased, over the fan-in N of a unit, as in all public code.

    Args:
        kernel: float tensor `(..., in / groups, out)`.
        gain: float tensor `(out,)`, or `None` for 1.
        eps: float >= 0.
        eps_mode: `"max"`, divide by `sqrt(max(N * var, eps))` (DeepMind, `eps=1e-4`); `"add"`, by
            `sqrt(N * (var + eps))` (timm, `eps=1e-5`).
        scale: float, a constant put into the kernel, such as the gain of the activation before it.

    Returns:
        A tensor of the kernel's shape and dtype.
    """
    ops = keras.ops
    axes, fan_in = tuple(range(len(kernel.shape) - 1)), math.prod(kernel.shape[:-1])
    centred = kernel - ops.mean(kernel, axes, keepdims=True)
    variance = ops.mean(ops.square(centred), axes)
    spread = ops.maximum(variance * fan_in, eps) if eps_mode == "max" else (variance + eps) * fan_in
    factor = ops.rsqrt(spread) * scale
    return centred * (factor if gain is None else factor * gain)


def divide_by_std(kernel, eps=1e-5):
    """Plain weight standardization: every unit gets mean 0 and variance 1, divided by `std + eps`.

    Args:
        kernel: float tensor `(..., in / groups, out)`.
        eps: float >= 0, added to the biased standard deviation.

    Returns:
        A tensor of the kernel's shape and dtype.
    """
    ops = keras.ops
    axes = tuple(range(len(kernel.shape) - 1))
    centred = kernel - ops.mean(kernel, axes, keepdims=True)
    # The square root has no finite slope at 0, where a constant kernel would be.
    variance = ops.mean(ops.square(centred), axes, keepdims=True)
    return centred / (ops.sqrt(ops.maximum(variance, 1e-20)) + eps)
