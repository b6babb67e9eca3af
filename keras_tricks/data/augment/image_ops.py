"""The sixteen operations of RandAugment on uint8 images.

Formula    each function's docstring
Paper      Cubuk et al. 2018, arXiv:1805.09501 (operations); 2019, arXiv:1909.13719 (RandAugment)
Recipe     none: the operations of rand_augment
Use when   you write an augmentation policy; `rand_augment` uses all of them
Do not     pass normalized images: all operations work on uint8 in 0-255
Cost       `benchmarks/input_pipeline.py`
Differs    point operations equal Pillow's bit by bit, because the papers name Pillow. Geometry follows the papers' code
           (TensorFlow Addons: nearest neighbour, positions are indices), so shear is relative to the first pixel, half
           a pixel from Pillow. `contrast` blends with the mean grey; the published TPU code blends with a constant by
           mistake
Status     equal to golden values of Pillow 13 and TensorFlow Addons 0.23 (tests/data/augment/test_image_ops.py)

All take a uint8 tensor `(height, width, 3)` and return one of the same shape. Pixels from outside the image are `FILL`.
Slow TensorFlow kernels (comparing and selecting bytes, broadcasting three numbers along channels) are avoided; look-up
tables and geometry are compiled by XLA into one loop, which is 3 to 10 times faster.
"""

import functools
import math

import tensorflow as tf

from keras_tricks.utils.errors import check_choice

FILL = 128
# Pillow's coefficients of grey: integers that float32 represents exactly.
LUMA = (19595.0, 38470.0, 7471.0)
ROUND, SCALE = 32768.0, 2.0**-16


def invert(image: tf.Tensor) -> tf.Tensor:
    """255 - x."""
    return 255 - image


def posterize(image: tf.Tensor, bits: tf.Tensor | int) -> tf.Tensor:
    """Keeps the highest `bits` (integer, 1 to 8) of each byte. 0 means 1, as in TensorFlow's code; Pillow rejects 0."""
    if tf.is_tensor(bits):
        return tf.bitwise.bitwise_and(image, tf.gather(tf.constant([128, *(256 - 2**b for b in range(7, -1, -1))],
                                                                   tf.uint8), bits))
    bits = min(max(int(bits), 1), 8)
    return tf.bitwise.bitwise_and(image, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def solarize(image: tf.Tensor, threshold: tf.Tensor | int = 128) -> tf.Tensor:
    """255 - x where x >= `threshold` (0 to 256). 256 changes nothing."""
    if tf.is_tensor(threshold):
        return _map_bytes(image, lambda x: tf.where(x >= tf.cast(threshold, x.dtype), 255 - x, x))
    if threshold > 255:
        return image
    bright = tf.cast(image >= tf.constant(max(threshold, 0), tf.uint8), tf.uint8)
    return tf.bitwise.bitwise_xor(image, bright * 255)


def solarize_add(image: tf.Tensor, addition: tf.Tensor | int, threshold: int = 128) -> tf.Tensor:
    """min(x + addition, 255) where x < `threshold`."""
    if tf.is_tensor(addition):
        return _map_bytes(image, lambda x: tf.where(x < threshold, x + tf.cast(addition, x.dtype), x))
    dark = tf.cast(image < tf.constant(threshold, tf.uint8), tf.float32)
    return _bytes(tf.cast(image, tf.float32) + float(addition) * dark)


def autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches every channel to the whole range 0-255. A channel of one value does not change."""
    low = tf.cast(tf.reduce_min(image, axis=(0, 1)), tf.float64)[:, None]
    high = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.float64)[:, None]
    values = tf.range(256, dtype=tf.float64)[None]
    scale = 255.0 / tf.maximum(high - low, 1.0)
    stretched = tf.clip_by_value(values * scale - low * scale, 0.0, 255.0)
    return _look_up(image, tf.cast(tf.where(high > low, stretched, values), tf.uint8))


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Equalizes the histogram of every channel. A channel that is too uniform does not change."""
    values = tf.cast(image, tf.int32)
    counts = tf.stack([tf.math.bincount(tf.reshape(values[..., c], [-1]), minlength=256, maxlength=256)
                       for c in range(3)])
    present = tf.cast(counts > 0, tf.int32) * tf.range(256)
    last = tf.gather(counts, tf.argmax(present, axis=1), axis=1, batch_dims=1)
    step = ((tf.reduce_sum(counts, axis=1) - last) // 255)[:, None]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    flat = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    return _look_up(image, tf.cast(tf.where(step > 0, flat, tf.range(256)[None]), tf.uint8))


def _map_bytes(image, function):
    """Applies a function of float64 `(256,)`, the values of a byte, to each byte; results above 255 become 255."""
    table = tf.cast(tf.minimum(function(tf.range(256, dtype=tf.float64)), 255.0), tf.uint8)
    return _look_up(image, tf.tile(table[None], [3, 1]))


def _look_up(image, table):
    """Replaces byte x of channel c by `table[c, x]`, uint8 `(3, 256)`."""
    return _compiled(_look_up_bytes)(image, table)


def _look_up_bytes(image, table):
    return tf.gather(tf.reshape(table, [-1]), tf.cast(image, tf.int32) + tf.constant([0, 256, 512]))


def brightness(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """factor * x."""
    return image if _is_one(factor) else _bytes(tf.cast(image, tf.float32) * tf.cast(factor, tf.float32))


def _is_one(factor):
    return not tf.is_tensor(factor) and factor == 1.0


def contrast(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Blends the image with its mean grey: factor 0 is grey, 1 the image."""
    if _is_one(factor):
        return image
    grey = _grey(image, channels=1)
    mean = tf.floor(tf.cast(tf.reduce_mean(tf.cast(grey, tf.float64)), tf.float32) + 0.5)
    return _blend(mean, tf.cast(image, tf.float32), factor)


def color(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Blends the image with its grey version: factor 0 is grey, 1 the image."""
    return image if _is_one(factor) else _blend(_grey(image), tf.cast(image, tf.float32), factor)


def sharpness(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Blends with the image smoothed by [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13. The border pixels do not change."""
    if _is_one(factor) or any(size is not None and size < 3 for size in image.shape[:2]):
        return image
    pixels = tf.cast(image, tf.float32)
    rows = pixels[:-2] + pixels[1:-1] + pixels[2:]
    inner = pixels[1:-1, 1:-1]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4.0 * inner
    blended = _blend(tf.floor((total + 6.5) * (1.0 / 13.0)), inner, factor)
    middle = tf.concat([image[1:-1, :1], blended, image[1:-1, -1:]], axis=1)
    return tf.ensure_shape(tf.concat([image[:1], middle, image[-1:]], axis=0), image.shape)


def _grey(image, channels=3):
    """Grey levels 0-255 as float32 `(height, width, channels)`."""
    weights = tf.constant([[w] * channels for w in LUMA])
    flat = tf.reshape(tf.cast(image, tf.float32), [-1, 3])
    return tf.reshape(tf.floor((flat @ weights + ROUND) * SCALE), tf.concat([tf.shape(image)[:2], [channels]], 0))


def _blend(degenerate, pixels, factor):
    """degenerate + factor * (pixels - degenerate), clipped to 0-255 and truncated to integers."""
    return _bytes(degenerate + tf.cast(factor, tf.float32) * (pixels - degenerate))


def _bytes(pixels):
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0), tf.uint8)


def cutout(image: tf.Tensor, pad: int, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Fills the square of side `2 * pad` around (`row`, `column`), int32 scalars, clipped to the image."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    top, bottom = tf.maximum(row - pad, 0), tf.minimum(row + pad, height)
    left, right = tf.maximum(column - pad, 0), tf.minimum(column + pad, width)
    fill = tf.fill([bottom - top, right - left, 3], tf.constant(FILL, tf.uint8))
    middle = tf.concat([image[top:bottom, :left], fill, image[top:bottom, right:]], axis=1)
    return tf.ensure_shape(tf.concat([image[:top], middle, image[bottom:]], axis=0), image.shape)


def translate_x(image: tf.Tensor, pixels: tf.Tensor | float) -> tf.Tensor:
    """Shifts the content to the left by `pixels`, a number that is rounded."""
    shift = _round_and_clip(pixels, tf.shape(image)[1])
    padded = tf.pad(image, [[0, 0], [tf.maximum(-shift, 0), tf.maximum(shift, 0)], [0, 0]], constant_values=FILL)
    start = tf.maximum(shift, 0)
    return tf.ensure_shape(padded[:, start : start + tf.shape(image)[1]], image.shape)


def translate_y(image: tf.Tensor, pixels: tf.Tensor | float) -> tf.Tensor:
    """Shifts the content up by `pixels`, a number that is rounded."""
    shift = _round_and_clip(pixels, tf.shape(image)[0])
    padded = tf.pad(image, [[tf.maximum(-shift, 0), tf.maximum(shift, 0)], [0, 0], [0, 0]], constant_values=FILL)
    start = tf.maximum(shift, 0)
    return tf.ensure_shape(padded[start : start + tf.shape(image)[0]], image.shape)


def _round_and_clip(pixels, limit):
    """`pixels` rounded to the nearest integer (halves up) and clipped to +- `limit`, int32."""
    return tf.clip_by_value(tf.cast(tf.floor(tf.cast(pixels, tf.float32) + 0.5), tf.int32), -limit, limit)


def shear_x(image: tf.Tensor, level: tf.Tensor | float, interpolation: str = "nearest") -> tf.Tensor:
    """Shifts row y to the left by `level * y` pixels."""
    return transform(image, (1.0, level, 0.0, 0.0, 1.0, 0.0), interpolation)


def shear_y(image: tf.Tensor, level: tf.Tensor | float, interpolation: str = "nearest") -> tf.Tensor:
    """Shifts column x up by `level * x` pixels."""
    return transform(image, (1.0, 0.0, 0.0, level, 1.0, 0.0), interpolation)


def rotate(image: tf.Tensor, degrees: tf.Tensor | float, interpolation: str = "nearest") -> tf.Tensor:
    """Rotates the image counterclockwise about its centre."""
    angle = tf.cast(degrees, tf.float32) * (math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    h, w = tf.cast(tf.shape(image)[0] - 1, tf.float32), tf.cast(tf.shape(image)[1] - 1, tf.float32)
    matrix = (cos, -sin, (w - (cos * w - sin * h)) / 2.0, sin, cos, (h - (sin * w + cos * h)) / 2.0)
    return transform(image, matrix, interpolation)


def transform(image: tf.Tensor, matrix: tuple, interpolation: str = "nearest") -> tf.Tensor:
    """Output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f); `matrix` is (a, b, c, d, e, f).

    `interpolation` is `"nearest"` or `"bilinear"`.
    """
    check_choice("interpolation", interpolation, ("nearest", "bilinear"))
    a, b, c, d, e, f = (tf.cast(v, tf.float32) for v in matrix)
    if interpolation == "nearest":
        # The products stay outside the compiled function: XLA would fuse them with the sums and round ties differently.
        x, y = (tf.cast(tf.range(tf.shape(image)[axis]), tf.float32) for axis in (1, 0))
        return _compiled(_sample_nearest)(image, a * x, b * y, c, d * x, e * y, f)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=tf.stack([a, b, c, d, e, f, 0.0, 0.0])[None],
        output_shape=tf.shape(image)[:2], fill_value=float(FILL), interpolation="BILINEAR", fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[0], image.shape)


def _sample_nearest(image, ax, by, c, dx, ey, f):
    """`transform` by nearest neighbour, from the terms of its sums: float32 `(width,)`, `(height,)` and scalars."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    column, row = _nearest(ax[None] + by[:, None] + c), _nearest(dx[None] + ey[:, None] + f)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = tf.gather(tf.reshape(image, [-1, 3]), tf.where(inside, row * width + column, 0))
    return tf.where(inside[..., None], pixels, tf.constant(FILL, tf.uint8))


def _nearest(position):
    """Rounded to the nearest whole number, halves away from zero, int32."""
    return tf.cast(tf.sign(position) * tf.floor(tf.abs(position) + 0.5), tf.int32)


def _compiled(function):
    """The function, compiled by XLA once per image size if the size is static."""

    def call(image, *arguments):
        image = tf.convert_to_tensor(image)
        return (_xla(function) if image.shape.is_fully_defined() else function)(image, *arguments)

    return call


@functools.cache
def _xla(function):
    return tf.function(function, jit_compile=True)
