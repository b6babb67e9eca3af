"""Whitening convolution: a frozen first layer that decorrelates the patches of the images, computed from data.

Formula    C = mean of p p^T over patches p;  C v_i = lambda_i v_i;  filters +- v_i / sqrt(lambda_i + eps)
Paper      Page 2019, "How to Train Your ResNet" part 8 (myrtle.ai); Jordan 2024, arXiv:2404.00498, section 3.1
Recipe     whitening: model.name=airbench94
Use when   a small network is trained for few epochs
Do not     use it with pretrained weights, which have a trained first layer
Cost       one pass over a few thousand images before training
Differs    nothing from airbench but the sign and order of the filters, which the eigenvalue solver chooses; there the
           bias is frozen after 3 epochs, here it is trained to the end
Status     in `airbench94`
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.layers.grouped_conv2d import add_bias
from keras_tricks.utils.errors import UserError

IMAGES = 5000  # from which airbench computes it


def whitening_kernel(images: np.ndarray, kernel_size: tuple[int, int] = (2, 2), eps: float = 5e-4) -> np.ndarray:
    """Filters that whiten the patches of images.

    Args:
        images: float `(count, height, width, channels)`, normalized.
        kernel_size: two integers, size of a patch. Defaults to `(2, 2)` (airbench).
        eps: float > 0, added to the eigenvalues. Defaults to `5e-4` (airbench).

    Returns:
        float32 `(kernel height, kernel width, channels, 2 * n)` with n = kernel height * kernel width * channels.

    Raises:
        UserError: the images have fewer patches than a patch has numbers.
    """
    (height, width), channels = kernel_size, images.shape[-1]
    size = height * width * channels
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    count = len(images) * max(rows, 0) * max(columns, 0)
    if count < size:
        raise UserError(f"Whitening needs at least {size} patches of {height} x {width} pixels. Received: {count}, of "
                        f"{len(images)} images of {images.shape[1]} x {images.shape[2]} pixels.")
    parts = [np.asarray(images[:, i : i + rows, j : j + columns], "float64").reshape(count, channels)
             for i in range(height) for j in range(width)]
    covariance = np.block([[a.T @ b for b in parts] for a in parts]) / count
    values, vectors = np.linalg.eigh(covariance)
    filters = (vectors / np.sqrt(np.maximum(values, 0.0) + eps))[:, ::-1]
    return np.concatenate([filters, -filters], axis=1).reshape(height, width, channels, 2 * size).astype("float32")


@keras.saving.register_keras_serializable(package="keras_tricks")
class WhiteningConv2D(keras.layers.Conv2D):
    """2-D convolution whose kernel is not trained but set by `whiten`. Its bias is trained.

    Args:
        filters: integer, 2 * kernel height * kernel width * channels. Defaults to `24`, for 2 x 2 x 3 numbers.
        kernel_size, ...: as `keras.layers.Conv2D`. The kernel size defaults to `2`.

    Input shape: `(batch, height, width, channels)`. Output shape: as `keras.layers.Conv2D`.
    """

    def __init__(self, filters: int = 24, kernel_size: int | Sequence[int] = 2, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **kwargs)

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras', but the kernel is not trainable."""
        return super().add_weight(*args, **{**kwargs, "trainable": kwargs.get("name") != "kernel"})

    def call(self, inputs: Any) -> Any:
        return add_bias(self, self.convolution_op(inputs, self.kernel))

    def whiten(self, images: Any, eps: float = 5e-4) -> None:
        """Sets the kernel from images, float `(count, height, width, channels)`, normalized. See `whitening_kernel`."""
        kernel = whitening_kernel(np.asarray(images), tuple(self.kernel_size), eps)
        if kernel.shape != tuple(self.kernel.shape):
            raise UserError(f"`filters` of {self.name} must be {kernel.shape[-1]} for these images. Received: "
                            f"{self.filters}")
        self.kernel.assign(kernel)
