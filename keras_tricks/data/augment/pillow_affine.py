"""Geometry as Pillow does it, by nearest neighbour: what timm and torchvision apply to an image.

Pillow computes positions at the centres of pixels, in integers of 1/65536 pixel. The same is done here, so the pixels
are the same. `image_ops` has the geometry of the papers' TensorFlow code, which counts from the first pixel.
"""

import math

import tensorflow as tf

UNIT = 65536.0


def affine(image: tf.Tensor, matrix: tuple, fill: tuple[int, int, int]) -> tf.Tensor:
    """Output pixel (x, y) is the input pixel that contains (a x + b y + c, d x + e y + f), of their centres.

    Args:
        image: uint8 `(height, width, 3)`, at most 8,192 pixels on a side.
        matrix: `(a, b, c, d, e, f)`, floats or float64 scalars, as `PIL.Image.transform` takes them.
        fill: three integers, colour of what is outside the image.

    Returns:
        uint8, same shape.
    """
    a, b, c, d, e, f = (tf.cast(v, tf.float64) for v in matrix)
    a, b, c, d, e, f = (_fixed(v) for v in (a, b, c + 0.5 * (a + b), d, e, f + 0.5 * (d + e)))
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    x, y = tf.range(width)[None], tf.range(height)[:, None]
    column = tf.bitwise.right_shift(a * x + b * y + c, 16)
    row = tf.bitwise.right_shift(d * x + e * y + f, 16)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = tf.gather(tf.reshape(image, [-1, 3]), tf.where(inside, row * width + column, 0))
    moved = tf.where(inside[..., None], pixels, tf.constant(fill, tf.uint8))
    return tf.ensure_shape(moved, image.shape)


def _fixed(value):
    return tf.cast(tf.floor(value * UNIT + 0.5), tf.int32)


def rotation(degrees: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple:
    """The matrix of a counterclockwise rotation about the centre. `degrees` is a float64 scalar."""
    angle = tf.cast(degrees, tf.float64) * (-math.pi / 180.0)
    cos, sin = (tf.round(v * 1e15) / 1e15 for v in (tf.cos(angle), tf.sin(angle)))
    x, y = tf.cast(width, tf.float64) / 2.0, tf.cast(height, tf.float64) / 2.0
    return cos, sin, -cos * x - sin * y + x, -sin, cos, sin * x - cos * y + y
