"""TrivialAugment: one random operation at a random strength on every training image, without a parameter.

Formula    one of 14 operations, drawn uniformly, at one of 31 strengths, drawn uniformly, with a random sign
Paper      Müller & Hutter 2021, arXiv:2103.10158 (the wide space); torchvision's recipe of 2021 for ResNet-50
Recipe     trivial_augment: augment.trivial_augment=true
Use when   training for long, and there is no time to choose the magnitude of RandAugment
Do not     use it in short training, or together with RandAugment
Cost       about that of one layer of RandAugment
Differs    nothing from torchvision's `TrivialAugmentWide` on a PIL image: each operation gives the same bytes. Its
           random numbers are others
Status     equal to torchvision (tests/data); not measured here

| operation                              | argument at strength s of 0 to 1                |
|----------------------------------------|-------------------------------------------------|
| identity, autocontrast, equalize       | none                                            |
| shear_x, shear_y                       | +- 0.99 s                                       |
| translate_x, translate_y               | +- int(32 s) pixels                             |
| rotate                                 | +- 135 s degrees                                |
| brightness, color, contrast, sharpness | factor 1 +- 0.99 s                              |
| posterize                              | 8 - round(6 s) bits kept                        |
| solarize                               | from 255 (1 - s) on                             |
"""

import functools

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment import image_ops, pillow_affine

BINS = 31
FILL = (0, 0, 0)


def strengths(first: float, last: float) -> np.ndarray:
    """`BINS` evenly spaced float32 numbers, from both ends and rounded once, as `torch.linspace` computes them."""
    step = np.float64(np.float32(last - first) / np.float32(BINS - 1))
    steps = np.arange(BINS)
    numbers = np.where(steps < BINS // 2, first + step * steps, np.float64(np.float32(last)) - step * steps[::-1])
    return numbers.astype("float32")


def operations() -> dict:
    """{name: (function of (image, float64 argument), `BINS` arguments, whether the sign is random)}."""
    shear, shift, turn = strengths(0, 0.99), strengths(0, 32), strengths(0, 135)
    bits = 8 - np.round(np.arange(BINS, dtype="float32") / (np.float32(BINS - 1) / 6))
    none = np.zeros(BINS)

    def affine(*matrix):
        return lambda image, v: pillow_affine.affine(image, tuple(v * m[1] if isinstance(m, tuple) else m
                                                                  for m in matrix), FILL)

    def rotate(image, degrees):
        size = tf.shape(image)
        return pillow_affine.affine(image, pillow_affine.rotation(degrees, size[0], size[1]), FILL)

    def enhance(function):
        return lambda image, v: function(image, 1.0 + v)

    return {
        "identity": (lambda image, v: tf.identity(image), none, False),
        "shear_x": (affine(1.0, (0, 1.0), 0.0, 0.0, 1.0, 0.0), shear, True),
        "shear_y": (affine(1.0, 0.0, 0.0, (0, 1.0), 1.0, 0.0), shear, True),
        "translate_x": (affine(1.0, 0.0, (0, -1.0), 0.0, 1.0, 0.0), np.trunc(shift), True),
        "translate_y": (affine(1.0, 0.0, 0.0, 0.0, 1.0, (0, -1.0)), np.trunc(shift), True),
        "rotate": (rotate, turn, True),
        "brightness": (enhance(image_ops.brightness), shear, True),
        "color": (enhance(image_ops.color), shear, True),
        "contrast": (enhance(image_ops.contrast), shear, True),
        "sharpness": (enhance(image_ops.sharpness), shear, True),
        "posterize": (lambda image, v: image_ops.posterize(image, tf.cast(v, tf.int32)), bits, False),
        "solarize": (image_ops.solarize, strengths(255, 0), False),
        "autocontrast": (lambda image, v: image_ops.autocontrast(image), none, False),
        "equalize": (lambda image, v: image_ops.equalize(image), none, False),
    }


def trivial_augment(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one random operation at a random strength.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)` that determines the result.

    Returns:
        uint8, same shape.
    """
    chosen = list(operations().values())
    draws = tf.random.stateless_uniform([3], seed)
    index, place = tf.cast(draws[0] * len(chosen), tf.int32), tf.cast(draws[1] * BINS, tf.int32)
    sign = tf.where(draws[2] < 0.5, tf.constant(-1.0, tf.float64), 1.0)

    def apply(function, arguments, signed):
        argument = tf.gather(tf.constant(arguments, tf.float64), place)
        return function(image, argument * sign if signed else argument)

    return tf.switch_case(index, [functools.partial(apply, *operation) for operation in chosen])
