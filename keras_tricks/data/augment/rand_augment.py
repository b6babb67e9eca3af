"""RandAugment: a few random operations on every training image, with one number for their strength.

Formula    repeat `num_layers` times: one of 16 operations, drawn uniformly, at strength `magnitude` on a scale of 10
Paper      Cubuk et al. 2019, arXiv:1909.13719; ResNet-RS (2 layers, magnitude 10 to 20) and NFNets (4 layers, 5 to 15)
Recipe     rand_augment: augment.rand_augment_layers=2
Use when   long training of networks that overfit; larger networks take larger magnitudes
Do not     use it in short training: it slows convergence
Cost       `benchmarks/input_pipeline.py`; only the chosen operation runs
Differs    operations are always applied, as in the papers' code; timm applies each with probability 0.5
           (`probability=0.5`) and scales translations with the image. See `image_ops` for the operations
Status     not reproduced on ImageNet

| operation                              | argument at magnitude m                 |
|----------------------------------------|-----------------------------------------|
| autocontrast, equalize, invert         | none                                    |
| rotate                                 | +- 30 m/10 degrees                      |
| posterize                              | int(4 m/10) bits kept                   |
| solarize                               | from int(256 m/10) on                   |
| solarize_add                           | int(110 m/10)                           |
| color, contrast, brightness, sharpness | factor 1.8 m/10 + 0.1                   |
| shear_x, shear_y                       | +- 0.3 m/10                             |
| translate_x, translate_y               | +- 100 m/10 pixels                      |
| cutout                                 | square of 2 int(40 m/10) pixels         |
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_tricks.data.augment import image_ops

MAX_LEVEL = 10.0


def operations(magnitude: float, translate: float = 100.0, cutout: float = 40.0) -> dict[str, Callable]:
    """The 16 operations as {name: function of (image, draw)}, in the order of the papers' code.

    Args:
        magnitude: float >= 0. 10 is the papers' full strength; larger values are allowed.
        translate: float, pixels of a translation at magnitude 10.
        cutout: float, half the side of the square in pixels at magnitude 10.

    `draw` is float32 `(3,)` in [0, 1): one number for the sign, two for the row and column of cutout.
    """
    m = magnitude / MAX_LEVEL
    factor = m * 1.8 + 0.1

    def signed(function, value):
        return lambda image, draw: function(image, tf.where(draw[0] < 0.5, -value, value))

    def cut(image, draw):
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        position = tf.cast(draw[1:] * size, tf.int32)
        return image_ops.cutout(image, int(m * cutout), position[0], position[1])

    def fixed(function, *arguments):
        return lambda image, draw: function(image, *arguments)

    return {
        "autocontrast": fixed(image_ops.autocontrast),
        "equalize": fixed(image_ops.equalize),
        "invert": fixed(image_ops.invert),
        "rotate": signed(image_ops.rotate, m * 30.0),
        "posterize": fixed(image_ops.posterize, int(m * 4)),
        "solarize": fixed(image_ops.solarize, int(m * 256)),
        "color": fixed(image_ops.color, factor),
        "contrast": fixed(image_ops.contrast, factor),
        "brightness": fixed(image_ops.brightness, factor),
        "sharpness": fixed(image_ops.sharpness, factor),
        "shear_x": signed(image_ops.shear_x, m * 0.3),
        "shear_y": signed(image_ops.shear_y, m * 0.3),
        "translate_x": signed(image_ops.translate_x, m * translate),
        "translate_y": signed(image_ops.translate_y, m * translate),
        "cutout": cut,
        "solarize_add": fixed(image_ops.solarize_add, int(m * 110)),
    }


def rand_augment(image: tf.Tensor, seed: tf.Tensor, num_layers: int = 2, magnitude: float = 10.0,
                 probability: float = 1.0, translate: float = 100.0) -> tf.Tensor:
    """Applies `num_layers` random operations, one after the other.

    Args:
        image: uint8 `(height, width, 3)`.
        seed: int64 `(2,)` that determines the result.
        num_layers: integer >= 0.
        magnitude: float >= 0, on a scale of 10.
        probability: float in [0, 1] with which each chosen operation is applied. Defaults to `1.0` (papers).
        translate: float, pixels of a translation at magnitude 10. Defaults to `100.0` (papers).

    Returns:
        uint8, same shape.
    """
    chosen = list(operations(magnitude, translate).values())
    draws = tf.random.stateless_uniform([num_layers, 5], seed)
    for layer in range(num_layers):
        draw = draws[layer]
        index = tf.cast(draw[0] * len(chosen), tf.int32)
        if probability < 1.0:
            index = tf.where(draw[1] < probability, index, len(chosen))  # the last branch: unchanged
        branches = [functools.partial(operation, image, draw[2:]) for operation in chosen]
        image = tf.switch_case(index, [*branches, functools.partial(tf.identity, image)])
    return image
