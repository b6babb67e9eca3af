"""The protocol of a data source of your own: examples that are read by number.

    class Photos:
        class_names = ("cat", "dog")

        def __len__(self):
            return len(self.files)

        def __getitem__(self, index):
            return self.files[index].read_bytes(), self.labels[index]

    kt.train("transfer/photos", data=(Photos("train"), Photos("validation")))

A PyTorch data set that returns Pillow images or arrays and has `classes`, such as those of torchvision, fits as well.
"""

import hashlib
import typing
from collections.abc import Sequence

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.names import Names
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.source import Split
from keras_tricks.utils.errors import UserError, one_line

CHECKED = 16  # examples in the identity of a source that has none


@typing.runtime_checkable
class DataSource(typing.Protocol):
    """A numbered set of labelled images.

    `source[index]`, for `index` in [0, len(source)), gives `(image, label)`. An image is a `bytes` object with the
    content of a file in any format of Pillow, a uint8 array `(height, width, channels)` or `(height, width)`, or a
    Pillow image. A label is an integer or, if an image has several, a vector `(classes,)` of 0 and 1. The same index
    must give the same example whenever it is read, also in another process, and the method is called from several
    threads. An error counts as a broken image.

    A source also has `class_names` (or `classes`), the names in label order, and may have `identity`, a text that
    changes if the examples change. Without it, 16 examples are compared when a run resumes.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple: ...


def is_data_source(value: typing.Any) -> bool:
    """Whether an object has the methods of a `DataSource` and class names."""
    return isinstance(value, DataSource) and (hasattr(value, "class_names") or hasattr(value, "classes"))


def class_names_of(source: DataSource, where: str) -> tuple[str, ...]:
    """The class names of a source. Raises `UserError` if they are not different texts."""
    names = getattr(source, "class_names", None) or getattr(source, "classes", None)
    if isinstance(names, str) or not isinstance(names, Sequence | np.ndarray) or not len(names):
        raise UserError(f"{where}: class_names must be a list of names in label order. Received: {names!r:.100}.")
    names = tuple(str(name) for name in names)
    if len(set(names)) < len(names):
        raise UserError(f"{where}: class_names must be different. Received: {', '.join(names[:10])}.")
    return names


def source_split(source: DataSource, max_bad_images: int, where: str) -> Split:
    """The `Split` of a `DataSource`; `where` names it in messages. The first example decides the kind of the images.

    Raises:
        UserError: the source is empty, or its first example cannot be read.
    """
    count = len(source)
    if not count:
        raise UserError(f"{where} has no examples.")
    try:
        first = source[0]
        image, label = first
        encoded = isinstance(image, bytes)
        channels = 3 if encoded else channels_of(image)
        _checked(image, encoded, channels)
        classes = len(class_names_of(source, where)) if np.size(label) > 1 else None
        _label(label, classes)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: example 0 must be (image, label): a file's bytes or uint8 (height, width, 3), and "
                        f"an integer. It failed: {type(error).__name__}: {one_line(error)}") from error

    def read(number):
        try:
            image, label = source[number]
        except (OSError, ValueError):
            raise
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {one_line(error)}") from error
        return _checked(image, encoded, channels), _label(label, classes)

    names = Names(count, lambda number: f"{where}, example {number}")
    identity = getattr(source, "identity", None)
    return read_split(read, names, BadImages(max_bad_images), None, encoded,
                      str(identity) if identity is not None else _identity(source, count, read), classes, channels)


def _identity(source, count, read):
    digest = hashlib.sha256(f"{type(source).__qualname__} {count}".encode())
    for number in dict.fromkeys(np.linspace(0, count - 1, CHECKED).astype(int).tolist()):
        try:
            image, label = read(number)
            digest.update(f"{label} ".encode() + (image if isinstance(image, bytes) else image.tobytes()))
        except (OSError, ValueError):
            digest.update(b"broken")
    return digest.hexdigest()


def _checked(image, encoded, channels):
    """The image, as bytes if `encoded`, else as uint8 `(height, width, channels)`. Raises `ValueError` otherwise."""
    if encoded != isinstance(image, bytes):
        raise ValueError("some images are the content of files and others are pixels")
    return image if encoded else as_pixels(image, channels)


def channels_of(image: typing.Any) -> int:
    """Channels of an array or a Pillow image as `as_pixels` returns it: 3 of grey images and of Pillow's."""
    shape = () if hasattr(image, "convert") else np.shape(image)
    return shape[-1] if len(shape) == 3 and shape[-1] != 1 else 3


def as_pixels(image: typing.Any, channels: int = 3) -> np.ndarray:
    """An array or a Pillow image as uint8 `(height, width, channels)`; grey is repeated three times.

    Raises:
        ValueError: another dtype or shape.
    """
    if hasattr(image, "convert"):
        image = image.convert("RGB")
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise ValueError(f"expected pixels as uint8 in 0-255, received {image.dtype}")
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[-1] not in {1, channels} or channels_of(image) != channels:
        raise ValueError(f"expected the shape (height, width, {channels}), received {image.shape}")
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _label(label, classes=None):
    """The label as an integer or, with several of `classes`, as uint8 `(classes,)`."""
    label = np.asarray(label)
    if classes is not None:
        if label.shape != (classes,) or not np.isin(label, (0, 1)).all():
            raise ValueError(f"expected {classes} labels of 0 and 1, one for each class, received {label.dtype} "
                             f"{label.shape}")
        return label.astype("uint8")
    if label.shape not in ((), (1,)) or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"expected an integer as label, received {label.dtype} {label.shape}")
    return int(label.reshape(()))
