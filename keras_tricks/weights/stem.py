"""The first convolution of pretrained weights, adapted to another number of channels, as timm does.

timm's `adapt_input_conv`: for grey images the kernels of red, green and blue are summed, so that a grey image gives the
outputs that it gives in three equal channels. For more channels they are repeated and scaled by 3 / channels.
"""

import logging
from typing import Any

import numpy as np

log = logging.getLogger("absl")

COLOURS = 3


def adapt_stem(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The kernel of a first convolution for another number of channels.

    Args:
        kernel: float `(height, width, 3, out)`.
        channels: integer > 0.

    Returns:
        `(height, width, channels, out)`, of the same dtype. For one channel the sum of the three; else the three
        repeated, cut to `channels`, times 3 / channels.
    """
    if channels == COLOURS:
        return kernel
    wide = np.asarray(kernel, "float32")
    if channels == 1:
        return wide.sum(axis=2, keepdims=True).astype(kernel.dtype)
    chosen = np.arange(channels) % COLOURS
    return (wide[:, :, chosen] * (COLOURS / channels)).astype(kernel.dtype)


def is_stem(shape: Any, theirs: Any, channels: int) -> bool:
    """Whether a kernel of `shape` is that of a first convolution of `channels`, and `theirs` that of one of colours."""
    shape, theirs = tuple(shape), tuple(theirs)
    return (channels != COLOURS and len(shape) == 4 and len(theirs) == 4 and shape[2] == channels
            and theirs == (*shape[:2], COLOURS, shape[3]))


def with_adapted_stem(variables: Any, tensors: Any, channels: int, source: str) -> dict[str, Any]:
    """{name: array}, in which the kernels of first convolutions of colours have `channels`.

    Args:
        variables: {name: variable} of the model.
        tensors: {name: array} of the checkpoint, in Keras' layout.
        channels: integer, channels of the model's images.
        source: name of the checkpoint in messages.
    """
    found = dict(tensors)
    for name, variable in variables.items():
        if name in found and is_stem(variable.shape, np.shape(found[name]), channels):
            found[name] = adapt_stem(np.asarray(found[name]), channels)
            how = "summed over" if channels == 1 else f"repeated and scaled by {COLOURS}/{channels} from"
            log.info("%s: the kernel %s is %s its three channels, as timm does", source, name, how)
    return found


def channels_of_model(model: Any) -> int:
    """Channels of the images that a `keras.Model` takes; 3 if it does not tell."""
    shape = getattr(model, "input_shape", None)
    return shape[-1] if isinstance(shape, tuple) and shape and isinstance(shape[-1], int) else COLOURS
