"""Images and labels in arrays, read by number."""

import hashlib
import typing

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.data_source import as_pixels
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.source import Split
from keras_tricks.utils.errors import UserError, one_line

LARGE = 2**30  # bytes; larger arrays are neither copied nor read completely to identify them
CHECKED = 1000  # images in the identity of a large array


class Arrays(typing.NamedTuple):
    """Checked arrays: images uint8 `(n, height, width, channels)`, labels int `(n,)`, texts or, with several an image,
    uint8 `(n, classes)`, and a description."""

    images: np.ndarray
    labels: np.ndarray
    description: str


def check_arrays(x: typing.Any, y: typing.Any, where: str) -> Arrays:
    """Checks images and labels; `where` names them, such as `"data[0]"`.

    Args:
        x: uint8 `(n, height, width, channels)`, or `(n, height, width)` in grey. One channel is repeated three times;
            other numbers than 1 and 3 need `data.channels`.
        y: integers `(n,)` or `(n, 1)` from 0, or texts, the names of the classes; or, with several labels an image, 0
            and 1 of any number type `(n, classes)`.

    Raises:
        UserError: another dtype or shape, a negative label, or no image.
    """
    images, labels = (_as_array(value, f"{where}[{i}]") for i, value in enumerate((x, y)))
    if images.dtype != np.uint8:
        hint = ": (255 * x).round().astype('uint8') if they are in 0-1" if images.dtype.kind == "f" else ""
        raise UserError(f"{where}: images must be uint8 in 0-255. Received: {images.dtype}. Convert them{hint}.")
    channels_first = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[-1] not in (1, 3)
    if images.ndim not in (3, 4) or channels_first:
        raise UserError(f"{where}: images must have the shape (n, height, width, 3), or (n, height, width) in grey. "
                        f"Received: {images.shape}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "buif":
        labels = as_label_sets(labels, where)
    elif labels.ndim != 1:
        raise UserError(f"{where}: labels must be integers of the shape (n,), or 0 and 1 of the shape (n, classes). "
                        f"Received: {labels.dtype} {labels.shape}.")
    if labels.dtype.kind not in "iuUST" and not (labels.dtype == object and all(isinstance(v, str) for v in labels)):
        raise UserError(f"{where}: labels must be integers or names. Received: {labels.dtype}.")
    if len(images) != len(labels) or not len(labels):
        raise UserError(f"{where}: expected as many labels as images, and at least one. Received: {len(images):,} "
                        f"images and {len(labels):,} labels.")
    if labels.dtype.kind in "iu" and labels.min() < 0:
        raise UserError(f"{where}: labels must be 0 or more. Received: {labels.min()} at {labels.argmin()}.")
    return Arrays(images, labels, f"uint8 {images.shape}")


def as_label_sets(labels: np.ndarray, where: str) -> np.ndarray:
    """Labels of 0 and 1 as uint8. Raises `UserError` for other values."""
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))].flat[0]
        raise UserError(f"{where}: labels of the shape {labels.shape} must be 0 and 1, one column for each class. "
                        f"Received: {wrong}.")
    return labels.astype("uint8")


def _as_array(value, where):
    try:
        return np.asarray(value)
    except Exception as error:  # images of different sizes; a tensor on another device
        raise UserError(f"{where} cannot be made an array: {one_line(error)}") from None


def split_of_arrays(arrays: Arrays, labels: np.ndarray, where: str) -> Split:
    """The `Split` of checked arrays, with labels as in `Split`. Arrays above 1 GiB are read where they are."""
    images, identity = arrays.images, identity_of(arrays)
    labels = np.asarray(labels, "uint8" if np.ndim(labels) == 2 else "int32")
    if images.nbytes <= LARGE:
        images = images[..., None] if images.ndim == 3 else images
        pixels = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        return array_split(pixels, labels, identity)
    names = [f"{where}, example {number}" for number in range(len(labels))]
    channels = images.shape[-1] if images.ndim == 4 and images.shape[-1] != 1 else 3
    return read_split(lambda i: as_pixels(images[i], channels), names, BadImages(0), labels, encoded=False,
                      identity=identity, channels=channels)


def identity_of(arrays: Arrays) -> str:
    """sha256 of dtype, shape, labels and images. Of arrays above 1 GiB, 1,000 evenly spaced images are read."""
    images, labels = arrays.images, arrays.labels
    digest = hashlib.sha256(f"{images.dtype} {images.shape} {labels.dtype.kind}".encode())
    digest.update("\0".join(map(str, labels.tolist())).encode())
    if images.nbytes > LARGE:
        images = images[np.linspace(0, len(images) - 1, CHECKED).astype(int)]
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
