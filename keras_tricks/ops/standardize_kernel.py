"""Weight standardization: the pure functions behind the convolutions of normalizer-free networks.

Kernels have Keras' layout `(..., in / groups, out)`. A unit is one output channel; its fan-in is everything else.
"""

import math
from typing import Any

import keras

EPS_MODES = ("max", "add")


def standardize_kernel(kernel: Any, gain: Any = None, eps: float = 1e-4, eps_mode: str = "max",
                       scale: float = 1.0) -> Any:
    """Scaled weight standardization: gives every unit mean 0 and L2 norm `scale * gain`.

    The statistics are the biased ones over the fan-in N of a unit, as in all public code.

    Args:
        kernel: float tensor `(..., in / groups, out)`.
        gain: float tensor `(out,)`, or `None` for 1. Defaults to `None`.
        eps: float >= 0. Defaults to `1e-4`.
        eps_mode: `"max"` divides by `sqrt(max(N * var, eps))` (DeepMind, `eps=1e-4`); `"add"` divides by
            `sqrt(N * (var + eps))` (timm, `eps=1e-5`). Defaults to `"max"`.
        scale: float, a constant factor of the kernel, such as the gain of the activation before it. Defaults to `1.0`.

    Returns:
        A tensor with the shape and dtype of the kernel.
    """
    ops = keras.ops
    axes, fan_in = tuple(range(len(kernel.shape) - 1)), math.prod(kernel.shape[:-1])
    centred = kernel - ops.mean(kernel, axes, keepdims=True)
    variance = ops.mean(ops.square(centred), axes)
    spread = ops.maximum(variance * fan_in, eps) if eps_mode == "max" else (variance + eps) * fan_in
    factor = ops.rsqrt(spread) * scale
    return centred * (factor if gain is None else factor * gain)


def divide_by_std(kernel: Any, eps: float = 1e-5) -> Any:
    """Plain weight standardization: subtracts the mean of every unit and divides by `std + eps`.

    Args:
        kernel: float tensor `(..., in / groups, out)`.
        eps: float >= 0, added to the biased standard deviation. Defaults to `1e-5`.

    Returns:
        A tensor with the shape and dtype of the kernel.
    """
    ops = keras.ops
    axes = tuple(range(len(kernel.shape) - 1))
    centred = kernel - ops.mean(kernel, axes, keepdims=True)
    # The gradient of the square root is infinite at 0, the variance of a constant kernel.
    variance = ops.mean(ops.square(centred), axes, keepdims=True)
    return centred / (ops.sqrt(ops.maximum(variance, 1e-20)) + eps)
