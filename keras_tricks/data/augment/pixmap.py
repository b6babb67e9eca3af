"""Uncompressed images: binary PPM files with a header of fixed size, whose rows are read without decoding.

    P6 00375 00500 255\\n    the kind, width and height in decimal digits, the largest value
    width x height x 3      bytes, rows from top to bottom, red, green and blue of each pixel

Every program that reads PPM opens them. A crop copies its rows and nothing else (docs/results/shards has the times and
the bytes).
"""

import re

import numpy as np
import tensorflow as tf

MAGIC, DIGITS = b"P6 ", 5
HEADER = len(MAGIC) + 2 * (DIGITS + 1) + len(b"255\n")  # bytes
LARGEST_SIDE = 10**DIGITS - 1  # pixels
PATTERN = f"P6 ([0-9]{{{DIGITS}}}) ([0-9]{{{DIGITS}}}) 255\n"


def encode(pixels: np.ndarray) -> bytes:
    """The content of a file with these pixels, uint8 `(height, width, 3)`, sides of at most 99,999 pixels."""
    height, width, _ = pixels.shape
    return b"%s%0*d %0*d 255\n%s" % (MAGIC, DIGITS, width, DIGITS, height, pixels.tobytes())


def size(head: bytes) -> tuple[int, int] | None:
    """(height, width) of a file that starts with `head`; `None` if that is not a header that `encode` writes."""
    found = re.match(PATTERN.encode(), head)
    return found and (int(found[2]), int(found[1]))


def is_pixmap(content: tf.Tensor) -> tf.Tensor:
    """Whether a file, a string scalar, has the header that `encode` writes: a bool scalar."""
    head = tf.strings.substr(content, 0, tf.minimum(tf.strings.length(content), HEADER))
    return tf.strings.regex_full_match(head, PATTERN)


def shape(content: tf.Tensor) -> tf.Tensor:
    """(height, width, 3) of a pixmap, int32."""
    first = len(MAGIC)
    width, height = (tf.strings.to_number(tf.strings.substr(content, start, DIGITS), tf.int32)
                     for start in (first, first + DIGITS + 1))
    return tf.stack([height, width, 3])


def crop(content: tf.Tensor, top, left, height, width) -> tf.Tensor:
    """The pixels in a box, uint8 `(height, width, 3)`."""
    row = 3 * shape(content)[1]
    rows = tf.io.decode_raw(tf.strings.substr(content, HEADER + top * row, height * row), tf.uint8)
    return tf.slice(tf.reshape(rows, [height, row // 3, 3]), [0, left, 0], [height, width, 3])
