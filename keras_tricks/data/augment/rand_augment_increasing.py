"""RandAugment with operations that grow stronger with the magnitude, and noise on the magnitude, as in timm.

Formula    repeat `num_layers` times: with a probability, one of 15 operations at strength N(magnitude, std^2), limited
           to 0-10
Paper      Wightman et al. 2021, arXiv:2110.00476 (timm's `rand-m7-mstd0.5-inc1`); RandAugment: arXiv:1909.13719
Recipe     rand_augment_increasing: augment.rand_augment_layers=2 augment.rand_augment_increasing=true
           augment.rand_augment_magnitude=7 augment.rand_augment_magnitude_std=0.5 augment.rand_augment_probability=0.5
Use when   following a recipe of timm
Do not     compare magnitudes with those of `rand_augment`, whose posterize, solarize and colours are strongest at 0
Cost       about that of `rand_augment`
Differs    geometry by nearest neighbour; timm draws bilinear or bicubic for each image. With timm's `interpolation` set
           to nearest, each operation gives the same bytes. Posterize keeps one bit at magnitude 10, where Pillow fails
Status     equal to timm (tests/data); not measured here

| operation                              | argument at magnitude m                  |
|----------------------------------------|------------------------------------------|
| autocontrast, equalize, invert         | none                                     |
| rotate                                 | +- 30 m/10 degrees                       |
| posterize                              | 4 - int(4 m/10) bits kept                |
| solarize                               | from 256 - int(256 m/10) on              |
| solarize_add                           | int(110 m/10)                            |
| color, contrast, brightness, sharpness | factor max(0.1, 1 +- 0.9 m/10)           |
| shear_x, shear_y                       | +- 0.3 m/10                              |
| translate_x, translate_y               | +- 0.45 m/10 of the width or height      |
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_tricks.data.augment import image_ops, pillow_affine

MAX_LEVEL = 10.0


def operations(fill: tuple[int, int, int]) -> dict[str, Callable]:
    """The 15 operations as {name: function of (image, level, sign)}, in timm's order.

    `level` is a float64 scalar in [0, 10], `sign` a float64 scalar, 1 or -1. `fill` is the colour outside the image.
    """

    def whole(scale, level):
        return tf.cast(level / MAX_LEVEL * scale, tf.int32)

    def signed(scale, level, sign):
        return sign * (level / MAX_LEVEL * scale)

    def rotate(image, level, sign):
        size = tf.shape(image)
        return pillow_affine.affine(image, pillow_affine.rotation(signed(30.0, level, sign), size[0], size[1]), fill)

    def enhance(function):
        return lambda image, level, sign: function(image, tf.maximum(1.0 + signed(0.9, level, sign), 0.1))

    def shift(axis):
        def translate(image, level, sign):
            pixels = signed(0.45, level, sign) * tf.cast(tf.shape(image)[axis], tf.float64)
            x, y = (pixels, 0.0) if axis else (0.0, pixels)
            return pillow_affine.affine(image, (1.0, 0.0, x, 0.0, 1.0, y), fill)

        return translate

    return {
        "autocontrast": lambda image, level, sign: image_ops.autocontrast(image),
        "equalize": lambda image, level, sign: image_ops.equalize(image),
        "invert": lambda image, level, sign: image_ops.invert(image),
        "rotate": rotate,
        "posterize": lambda image, level, sign: image_ops.posterize(image, 4 - whole(4.0, level)),
        "solarize": lambda image, level, sign: image_ops.solarize(image, 256 - whole(256.0, level)),
        "solarize_add": lambda image, level, sign: image_ops.solarize_add(image, whole(110.0, level)),
        "color": enhance(image_ops.color),
        "contrast": enhance(image_ops.contrast),
        "brightness": enhance(image_ops.brightness),
        "sharpness": enhance(image_ops.sharpness),
        "shear_x": lambda image, level, sign: pillow_affine.affine(
            image, (1.0, signed(0.3, level, sign), 0.0, 0.0, 1.0, 0.0), fill),
        "shear_y": lambda image, level, sign: pillow_affine.affine(
            image, (1.0, 0.0, 0.0, signed(0.3, level, sign), 1.0, 0.0), fill),
        "translate_x": shift(1),
        "translate_y": shift(0),
    }


def rand_augment_increasing(image: tf.Tensor, seed: tf.Tensor, num_layers: int = 2, magnitude: float = 7.0,
                            magnitude_std: float = 0.5, probability: float = 0.5,
                            fill: tuple[int, int, int] = (128, 128, 128)) -> tf.Tensor:
    """Applies `num_layers` random operations, one after the other.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)` that determines the result.
        num_layers: integer >= 0. Defaults to `2` (timm).
        magnitude: float in [0, 10]. Defaults to `7.0` (A1 and A2 of the paper).
        magnitude_std: float >= 0, standard deviation of the magnitude of each operation. Defaults to `0.5` (paper).
        probability: float in [0, 1] with which each chosen operation is applied. Defaults to `0.5` (timm).
        fill: three integers, colour outside the image; timm takes the mean of the data.

    Returns:
        uint8, same shape.
    """
    chosen = list(operations(fill).values())
    seeds = tf.random.split(seed, 2)
    draws = tf.random.stateless_uniform([num_layers, 3], seeds[0])
    noise = tf.random.stateless_normal([num_layers], seeds[1], stddev=magnitude_std, dtype=tf.float64)
    levels = tf.clip_by_value(magnitude + noise, 0.0, MAX_LEVEL)
    signs = tf.where(draws[:, 2] < 0.5, tf.constant(-1.0, tf.float64), 1.0)
    for layer in range(num_layers):
        index = tf.cast(draws[layer, 0] * len(chosen), tf.int32)
        index = tf.where(draws[layer, 1] < probability, index, len(chosen))  # the last branch: unchanged
        branches = [functools.partial(operation, image, levels[layer], signs[layer]) for operation in chosen]
        image = tf.switch_case(index, [*branches, functools.partial(tf.identity, image)])
    return image
