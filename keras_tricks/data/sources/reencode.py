"""Smaller images for packed data: longer side limited, JPEG of one quality or uncompressed, as in FFCV's ImageNet.

FFCV (Leclerc et al. 2023, arXiv:2306.12517; `max_resolution` of its `RGBImageField`) limits the longer side to 500
pixels, compresses with quality 90 and keeps half of the images uncompressed (`compress_probability`).
"""

import dataclasses
import io
import zlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment import crops, pixmap
from keras_tricks.data.augment.orientation import ORIENTATION, orientation
from keras_tricks.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How `pack` stores images.

    Attributes:
        max_side: integer > 0, the longer side in pixels to which larger images are reduced, or `None`.
        quality: integer in [1, 100], quality of the JPEG.
        uncompressed: float in [0, 1], share of the images that are stored as `pixmap`s instead, chosen by their
            checksums. Defaults to `0.0`.
    """

    max_side: int | None = None
    quality: int = 90
    uncompressed: float = 0.0

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise UserError(f"`max_side` must be 1 or more. Received: {self.max_side}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"`quality` must be from 1 to 100. Received: {self.quality}")
        if not 0 <= self.uncompressed <= 1:
            raise UserError(f"`uncompressed` must be from 0 to 1. Received: {self.uncompressed}")

    def __call__(self, content: bytes) -> bytes:
        """The content of a pixmap or a smaller JPEG file; the content itself if a JPEG would be no smaller and the
        image needs no reduction.

        The orientation in EXIF is kept, for `data.exif=apply`, so an image that has one is never stored as a pixmap.
        All other metadata are left out.

        Args:
            content: of a JPEG or PNG file that can be decoded.
        """
        from PIL import Image

        encoded = tf.constant(content)
        height, width = (int(side) for side in crops.image_shape(encoded))
        image = Image.fromarray(crops.crop(encoded, 0, 0, height, width).numpy())
        reduced = self.reduced_size(width, height)
        if reduced != image.size:
            image = image.resize(reduced, Image.Resampling.BOX)
        turn = orientation(content)
        if turn == 1 and zlib.crc32(content) < self.uncompressed * 2**32 and max(reduced) <= pixmap.LARGEST_SIDE:
            return pixmap.encode(np.asarray(image))
        options, out = {"quality": self.quality}, io.BytesIO()
        if turn != 1:
            options["exif"] = Image.Exif()
            options["exif"][ORIENTATION] = turn
        image.save(out, "JPEG", **options)
        smaller = len(out.getvalue()) < len(content)
        return out.getvalue() if smaller or reduced != (width, height) else content

    def reduced_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) with the longer side at most `max_side`, rounded down as in FFCV."""
        ratio = 1.0 if self.max_side is None else self.max_side / max(width, height)
        return (width, height) if ratio >= 1 else (max(int(ratio * width), 1), max(int(ratio * height), 1))


def in_graph(encoding: Encoding, image: tf.Tensor) -> tf.Tensor:
    """`encoding` applied to an encoded image, a string scalar, in the graph."""
    return tf.ensure_shape(tf.numpy_function(encoding, [image], tf.string, stateful=False), ())
