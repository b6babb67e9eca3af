"""Sets the kernels of the whitening layers of a model from images."""

from collections.abc import Callable
from typing import Any

import keras

from keras_tricks.layers import WhiteningConv2D


def whiten(model: keras.Model, images: Any | Callable[[], Any], eps: float = 5e-4) -> int:
    """Whitens the `kt.layers.WhiteningConv2D` layers of a model.

    Args:
        model: built `keras.Model`. Each such layer receives the images themselves.
        images: float `(count, height, width, channels)`, normalized, or a function that returns them, which is called
            only if the model has such a layer.
        eps: float > 0, added to the eigenvalues. Defaults to `5e-4` (airbench).

    Returns:
        The number of layers.

    Raises:
        UserError: the images have fewer patches than a patch has numbers.
    """
    chosen = [layer for layer in model.layers if isinstance(layer, WhiteningConv2D)]
    if chosen and callable(images):
        images = images()
    for layer in chosen:
        layer.whiten(images, eps)
    return len(chosen)
