"""Random erasing: replaces a random rectangle of a training image by a constant or by noise.

Formula    area ~ U[0.02, 1/3] of the image, log(height / width) ~ U[log 0.3, log 1/0.3]; the box becomes 0, or N(0, 1)
           for each pixel, of the normalized image
Paper      Zhong et al. 2017, arXiv:1708.04896; torchvision's recipe of 2021 (probability 0.1)
Recipe     random_erasing: augment.random_erasing=0.25
Use when   training for long; small networks take a small probability
Do not     use it on images of small objects, which a box can cover
Cost       one pass over the image, which leaves the input pipeline as float32
Differs    nothing from timm's and torchvision's box and values; at most 10 attempts. The order is torchvision's: before
           mixup. timm erases the mixed batch if it runs on the device
Status     boxes equal to timm's (tests/data); not measured here
"""

import math

import tensorflow as tf

from keras_tricks.utils.errors import check_choice

ATTEMPTS = 10
SEED = 750_019  # offset that separates its random numbers from the others of the same example


def erasing_box(height: tf.Tensor, width: tf.Tensor, draws: tf.Tensor, area: tuple[float, float] = (0.02, 1 / 3),
                aspect: tuple[float, float] = (0.3, 1 / 0.3)) -> tuple[tf.Tensor, ...]:
    """The box to erase in an image of `height` x `width` pixels.

    Args:
        height, width: int32 scalars > 0.
        draws: float32 `(4, attempts)` in [0, 1): for the area, the aspect, the top and the left of each attempt. The
            first box that is smaller than the image on both sides is used.
        area: range of the box's share of the image.
        aspect: range of height / width.

    Returns:
        int32 scalars `top, left, height, width`; the last two are 0 if no box fits.
    """
    draws = tf.cast(draws, tf.float64)
    areas = (area[0] + draws[0] * (area[1] - area[0])) * tf.cast(height * width, tf.float64)
    low, high = math.log(aspect[0]), math.log(aspect[1])
    aspects = tf.exp(low + draws[1] * (high - low))
    heights = tf.cast(tf.round(tf.sqrt(areas * aspects)), tf.int32)
    widths = tf.cast(tf.round(tf.sqrt(areas / aspects)), tf.int32)
    fits = (heights < height) & (widths < width)
    first, any_fits = tf.argmax(tf.cast(fits, tf.int32)), tf.cast(tf.reduce_any(fits), tf.int32)
    box_height, box_width = heights[first] * any_fits, widths[first] * any_fits
    top = tf.cast(draws[2, first] * tf.cast(height - box_height + 1, tf.float64), tf.int32)
    left = tf.cast(draws[3, first] * tf.cast(width - box_width + 1, tf.float64), tf.int32)
    return top, left, box_height, box_width


def random_erasing(image: tf.Tensor, seed: tf.Tensor, probability: float = 0.25, mode: str = "constant",
                   mean: tuple[float, ...] = (0.0, 0.0, 0.0), std: tuple[float, ...] = (1.0, 1.0, 1.0)) -> tf.Tensor:
    """Erases a random box with a probability.

    Args:
        image: float32 or uint8 `(height, width, 3)`.
        seed: integer `(2,)` that determines the result.
        probability: float in [0, 1].
        mode: `"constant"` (mean of the data, 0 of a normalized image) or `"pixel"` (a normal random number for each).
        mean, std: three floats each, with which the image will be normalized. Default to 0 and 1: it is already.

    Returns:
        float32, same shape.
    """
    check_choice("mode", mode, ("constant", "pixel"))
    seeds = tf.random.split(tf.cast(seed, tf.int64), 3)
    image = tf.cast(image, tf.float32)
    height, width = tf.shape(image)[0], tf.shape(image)[1]

    def erased():
        draws = tf.random.stateless_uniform([4, ATTEMPTS], seeds[1])
        top, left, box_height, box_width = erasing_box(height, width, draws)
        rows, columns = tf.range(height)[:, None], tf.range(width)[None]
        inside = (rows >= top) & (rows < top + box_height) & (columns >= left) & (columns < left + box_width)
        values = tf.constant(mean, tf.float32)
        if mode == "pixel":
            values += tf.constant(std, tf.float32) * tf.random.stateless_normal(tf.shape(image), seeds[2])
        return tf.where(inside[..., None], values, image)

    drawn = tf.random.stateless_uniform([], seeds[0]) < probability
    return tf.ensure_shape(tf.cond(drawn, erased, lambda: image), image.shape)
