"""Reads uncompressed images of packed data as arrays, without a copy."""

import os
import zlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment import crops, pixmap
from keras_tricks.data.augment.orientation import turn_upright
from keras_tricks.data.sources.shard_index import Shard

ALIGNMENT = 64  # bytes: TensorFlow uses an array in place if it starts at a multiple, else it makes a copy


def read_pixels(shard: Shard, offset: int, length: int, crc32: int | None, upright: bool = False) -> np.ndarray | None:
    """The pixels of an image, uint8 `(height, width, 3)`; `None` if they are not what was written.

    Args:
        shard: `Shard`.
        offset, length: place of the image in it, in bytes.
        crc32: checksum of the image. `None`: it was right before and is not computed again, which takes as long as a
            crop.
        upright: bool, whether to apply the EXIF orientation, which only encoded images have. Defaults to `False`.
    """
    head, body = bytearray(min(pixmap.HEADER, length)), aligned(max(length - pixmap.HEADER, 0))
    if read_into(shard, [head, body], offset) != length:
        return None
    if crc32 is not None and zlib.crc32(body, zlib.crc32(head)) != crc32:
        return None
    shape = pixmap.size(bytes(head))
    if shape is not None:
        return body.reshape(*shape, 3) if len(body) == 3 * shape[0] * shape[1] else None
    content = bytes(head) + body.tobytes()
    encoded = tf.constant(turn_upright(content) if upright else content)
    return crops.crop(encoded, 0, 0, *crops.image_shape(encoded)).numpy()


def aligned(size: int) -> np.ndarray:
    """An uninitialized array of bytes, uint8 `(size,)`, that TensorFlow can use in place."""
    memory = np.empty(size + ALIGNMENT, "uint8")
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def read_into(shard: Shard, parts: list, offset: int) -> int:
    """Fills writable buffers, one after the other, from a position in a shard. Returns the number of bytes read."""
    if hasattr(os, "preadv"):
        return os.preadv(shard.descriptor, parts, offset)
    content, start = shard.read(offset, sum(map(len, parts))), 0
    for part in parts:
        part[:] = np.frombuffer(content[start : start + len(part)].ljust(len(part), b"\0"), "uint8")
        start += len(part)
    return len(content)
