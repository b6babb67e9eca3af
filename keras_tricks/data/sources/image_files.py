"""Reads image files: JPEG and PNG in the graph, the other formats of Pillow in Python, as PNG.

Pixels are those of Pillow's `convert("RGB")`: an EXIF orientation is not applied (see `orientation`), colour
profiles and transparency are ignored, and only the first frame of an animation and the first page of a document are
read. The exception is 16-bit grey, of which the high byte is used; Pillow clips its values at 255.
"""

import io
import os
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment import crops
from keras_tricks.data.augment.orientation import ORIENTATION, orientation
from keras_tricks.data.sources.file_access import read_regular_file

MAX_PIXELS = 2**29 // 3  # TensorFlow rejects larger JPEG files, and Pillow larger images


def value_or_empty(function: Callable, *args: tf.Tensor) -> tf.Tensor:
    """A string scalar, computed in the graph by a function of tensors; `""` if it fails.

    The error alone would end the whole pipeline. The nested data set costs 0.1 ms.
    """
    if tf.executing_eagerly():
        try:
            return function(*args)
        except tf.errors.OpError:
            return tf.constant(b"")
    value = tf.data.Dataset.from_tensors(args).map(function).ignore_errors()
    return value.concatenate(tf.data.Dataset.from_tensors("")).take(1).get_single_element()


def read_or_empty(path: tf.Tensor) -> tf.Tensor:
    """The content of a file, or `""` if it cannot be read: a string scalar, in the graph."""
    return value_or_empty(tf.io.read_file, path)


def has_end_markers(content: tf.Tensor) -> tf.Tensor:
    """Whether a file has the start and end markers of a JPEG or PNG: a bool scalar, in the graph, without decoding."""
    size = tf.strings.length(content)
    head = tf.strings.substr(content, 0, tf.minimum(size, 3))
    tail = tf.strings.substr(content, tf.maximum(size - 8, 0), tf.minimum(size, 8))
    last_two = tf.strings.substr(tail, tf.maximum(tf.strings.length(tail) - 2, 0), 2)
    jpeg = (head == b"\xff\xd8\xff") & (last_two == b"\xff\xd9")
    png = (head == b"\x89PN") & (tail == b"IEND\xaeB`\x82")
    return (size > 16) & (jpeg | png)


def png_checksums_ok(content: tf.Tensor) -> tf.Tensor:
    """Whether the checksums of a PNG file are right and it is not too large: a bool scalar, in the graph."""
    valid = tf.numpy_function(lambda file: np.bool_(not png_fault(file)), [content], tf.bool, stateful=False)
    return tf.ensure_shape(valid, ())


def png_fault(content: bytes) -> str:
    """The reason why a PNG file is invalid, or `""`. Checks the checksum at the end of every critical chunk.

    Chunks that decoders may ignore (their type starts with a lower-case letter) are not checked.
    """
    view, start = memoryview(content), 8
    while start + 12 <= len(view):
        length, kind = struct.unpack(">I4s", view[start : start + 8])
        end = start + 8 + length
        if kind[:1].isupper() and view[end : end + 4] != zlib.crc32(view[start + 4 : end]).to_bytes(4, "big"):
            return f"the checksum of its chunk at byte {start} is wrong"
        if kind == b"IHDR" and (fault := _too_large(*struct.unpack(">II", view[start + 8 : start + 16]))):
            return fault
        start = end + 4
    return "" if start == len(view) else "bytes are missing or left over"


def decoding_fault(content: bytes) -> str:
    """The reason why the pipeline cannot decode an encoded image, or `""`. Decodes the whole image."""
    try:
        height, width = crops.image_shape(tf.constant(content))
        if fault := _too_large(int(width), int(height)):
            return fault
        crops.crop(tf.constant(content), 0, 0, height, width)
    except tf.errors.OpError as error:
        return re.sub(r"^{{.*?}} | \[Op:.*", "", error.message)
    return ""


def _too_large(width, height):
    return f"{width} x {height} pixels, more than {MAX_PIXELS:,} in all" if width * height > MAX_PIXELS else ""


def check_image(path: str | os.PathLike) -> bytes:
    """Decodes a whole file. Returns its content in a format that the pipeline decodes.

    A readable image in another format (BMP, GIF, a JPEG with bytes after its end) is converted to PNG.

    Raises:
        ValueError: the image cannot be read. The message is the reason.
    """
    return readable_content(path)[0]


def readable_content(path: str | os.PathLike) -> tuple[bytes, bool]:
    """(content as `check_image` returns it, whether it was converted to PNG). Raises as `check_image` does."""
    return checked_content(read_regular_file(path))


def quick_content(content: bytes) -> bytes:
    """The content of an image file in a format that the pipeline decodes. A JPEG or PNG is not decoded to check it.

    Raises:
        ValueError: the image cannot be read. The message is the reason.
    """
    is_jpeg = content[:3] == b"\xff\xd8\xff" and content[-2:] == b"\xff\xd9"
    is_png = content[:3] == b"\x89PN" and not png_fault(content)
    return content if len(content) > 16 and (is_jpeg or is_png) else checked_content(content)[0]


def checked_content(content: bytes) -> tuple[bytes, bool]:
    """As `readable_content`, of the content of a file."""
    if not content:
        raise ValueError("empty file")
    if has_end_markers(tf.constant(content)):
        fault = "" if tf.io.is_jpeg(content) else png_fault(content)
        if fault := fault or decoding_fault(content):
            raise ValueError(fault)
        return content, False
    out, exif = io.BytesIO(), None
    if (turn := orientation(content)) != 1:  # kept for `data.exif=apply`
        from PIL import Image

        exif = Image.Exif()
        exif[ORIENTATION] = turn
    _decoded_by_pillow(content).save(out, "PNG", exif=exif)
    return out.getvalue(), True


def _decoded_by_pillow(content):
    """The first frame as an RGB image. Raises `ValueError` with the reason, whatever error Pillow raises."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            if image.mode in ("I", "F"):
                raise ValueError(f"its pixels ({image.mode}) are not bytes")
            return image.convert("RGB")
    except Exception as error:
        reason = re.sub(r" <_io.*>$", "", str(error))
        raise ValueError(reason or type(error).__name__) from None
