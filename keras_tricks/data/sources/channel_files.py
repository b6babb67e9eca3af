"""Files of images with other channels than grey and colour: NumPy arrays, and TIFF files.

    image.npy     uint8 `(height, width, channels)`, written by `numpy.save`
    image.tif     one page for each channel, or the channels of one page, such as RGBA
"""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.data_source import as_pixels
from keras_tricks.data.sources.file_access import read_regular_file
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.source import Split

NPY = b"\x93NUMPY"


def read_channels(path: str | os.PathLike, channels: int) -> np.ndarray:
    """The pixels of a file: uint8 `(height, width, channels)`.

    Raises:
        ValueError, OSError: the file cannot be read, or has another dtype or number of channels.
    """
    return _of_channels(_decoded(read_regular_file(path)), channels)


def array_of_content(content: bytes, channels: int) -> np.ndarray:
    """The pixels in the content of such a file: uint8 `(height, width, channels)`.

    With 1 and 3 `channels` the result has three, those of grey arrays repeated.

    Raises:
        ValueError: as `read_channels`.
    """
    if channels not in (1, 3):
        return _of_channels(_decoded(content), channels)
    return as_pixels(_array(content) if content.startswith(NPY) else _first_page(content))


def _decoded(content):
    """The pixels of a file, of any dtype and shape."""
    return _array(content) if content.startswith(NPY) else _pages(content)


def _array(content):
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds
        raise ValueError(f"not a .npy file that can be read ({error})") from None


def _first_page(content):
    from PIL import Image

    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except Exception as error:
        raise ValueError(f"neither a .npy file nor an image ({type(error).__name__})") from None


def _of_channels(image, channels):
    if image.dtype != np.uint8:
        raise ValueError(f"expected pixels as uint8 in 0-255, received {image.dtype}")
    if image.ndim != 3 or image.shape[-1] != channels:
        raise ValueError(f"expected the shape (height, width, {channels}), received {image.shape}")
    return image


def _pages(content):
    """All pages of an image file side by side, as `(height, width, channels)`."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(io.BytesIO(content)) as file:
            pages = [np.asarray(page) for page in ImageSequence.Iterator(file)]
    except Exception as error:
        raise ValueError(f"neither a .npy file nor an image ({type(error).__name__})") from None
    pages = [page[..., None] if page.ndim == 2 else page for page in pages]
    if len({page.shape[:2] for page in pages}) > 1:
        raise ValueError("its pages have different sizes")
    return np.concatenate(pages, axis=-1)


def channel_split(channels: int, path_list: Sequence[str], labels: np.ndarray, bad: BadImages,
                  broken: Mapping[str, str] | None = None) -> Split:
    """A split of such files, in the given order. Arguments as for `image_folder.path_split`."""
    broken = broken or {}
    bad.reasons |= {path: broken[path] for path in path_list if path in broken}
    return read_split(lambda number: read_channels(path_list[number], channels), path_list, bad, labels, encoded=False,
                      channels=channels)
