"""Crops, augments and normalizes one image, as set in a recipe's `data` and `augment` sections."""

import typing

import tensorflow as tf

from keras_tricks.data.augment import color, crops
from keras_tricks.data.augment.orientation import upright
from keras_tricks.data.augment.rand_augment import rand_augment
from keras_tricks.data.augment.rand_augment_increasing import rand_augment_increasing
from keras_tricks.data.augment.random_erasing import SEED as ERASING_SEED
from keras_tricks.data.augment.random_erasing import random_erasing
from keras_tricks.data.augment.trivial_augment import trivial_augment
from keras_tricks.utils.errors import UserError

RAND_AUGMENT_SEED = 250_007  # offset that separates its random numbers from the others of the same example


def evaluation_image(image: tf.Tensor, data: typing.Any) -> tf.Tensor:
    """Crops one encoded or uint8 image by `data.eval_crop`: float32 `(size, size, 3)` in 0-255."""
    image = _oriented(image, data)
    size, resizing = data.test_size, dict(interpolation=data.interpolation, antialias=data.antialias)
    if data.eval_crop == "short_side":
        return crops.short_side_crop(image, size, data.short_side, **resizing)
    if data.eval_crop == "center":
        return crops.center_crop(image, size, data.crop_pct, **resizing)
    if data.eval_crop == "squash":
        return crops.squash_crop(image, size, data.crop_padding, **resizing)
    return crops.resize_whole(image, size, **resizing)


def training_image(image: tf.Tensor, data: typing.Any, augment: typing.Any, seed: tf.Tensor,
                   mirrored: tf.Tensor | None = None) -> tf.Tensor:
    """Crops, flips and changes the colours of one encoded or uint8 image: float32 `(size, size, 3)` in 0-255.

    Args:
        image: string or uint8 tensor.
        data, augment: the sections of a `Recipe`.
        seed: integer tensor `(2,)` that determines every random number.
        mirrored: bool scalar, whether to flip, for `augment.flip="alternating"`. Defaults to `None`: a random half.
    """
    image = _oriented(image, data)
    size, resizing = data.image_size, dict(interpolation=data.interpolation, antialias=data.antialias)
    seeds = tf.random.split(seed, 4)
    if augment.crop == "random_resized":
        image = crops.random_resized_crop(image, size, seeds[0], augment.crop_area, augment.crop_aspect, **resizing)
    elif augment.crop == "distorted":
        image = crops.distorted_crop(image, size, seeds[0], augment.crop_area, augment.crop_aspect,
                                     augment.crop_covered, **resizing)
    elif augment.crop == "pad":
        image = crops.pad_crop(image, size, seeds[0], augment.pad, augment.pad_mode, **resizing)
    else:
        image = crops.resize_whole(image, size, **resizing)
    if augment.flip:
        flipped = tf.random.stateless_uniform([], seeds[1]) < 0.5 if mirrored is None else mirrored
        image = tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)
    if augment.color_jitter != "none":
        image = color.color_jitter(image, seeds[2], augment.color_jitter, augment.color_jitter_strength)
    if augment.pca_noise:
        image = color.pca_noise(image, tf.random.stateless_normal([3], seeds[3], stddev=augment.pca_noise))
    return tf.ensure_shape(image, (size, size, 3))


def _oriented(image, data):
    return upright(image) if data.exif == "apply" and crops.is_encoded(image) else image


def check_policies(augment: typing.Any) -> None:
    """Raises `UserError` for settings of the `augment` section that exclude each other, or have no effect."""
    if augment.trivial_augment and augment.rand_augment_layers:
        raise UserError("`augment.trivial_augment` and `augment.rand_augment_layers` are two policies: switch one off.")
    if augment.rand_augment_magnitude_std and not augment.rand_augment_increasing:
        raise UserError("`augment.rand_augment_magnitude_std` needs `augment.rand_augment_increasing=true`.")


def augment_randomly(image: tf.Tensor, data: typing.Any, augment: typing.Any, seed: tf.Tensor) -> tf.Tensor:
    """Applies RandAugment or TrivialAugment (float32 in 0-255 -> uint8) and random erasing (-> float32).

    A recipe without them returns the image unchanged.
    """
    if augment.rand_augment_layers and augment.rand_augment_increasing:
        fill = tuple(round(mean) for mean in data.mean)
        image = rand_augment_increasing(
            tf.saturate_cast(image, tf.uint8), seed + RAND_AUGMENT_SEED, augment.rand_augment_layers,
            augment.rand_augment_magnitude, augment.rand_augment_magnitude_std, augment.rand_augment_probability, fill)
    elif augment.rand_augment_layers:
        image = rand_augment(
            tf.saturate_cast(image, tf.uint8), seed + RAND_AUGMENT_SEED, augment.rand_augment_layers,
            augment.rand_augment_magnitude, augment.rand_augment_probability, augment.rand_augment_translate,
        )
    if augment.trivial_augment:
        image = trivial_augment(tf.saturate_cast(image, tf.uint8), seed + RAND_AUGMENT_SEED)
    if augment.random_erasing:
        image = random_erasing(image, seed + ERASING_SEED, augment.random_erasing, augment.random_erasing_mode,
                               data.mean, data.std)
    return image


def normalize(images: tf.Tensor, data: typing.Any) -> tf.Tensor:
    """(x - mean) / std, float32. Works on whole rows, because TensorFlow is slow to broadcast three numbers."""
    shape = tf.shape(images)
    rows = tf.reshape(tf.cast(images, tf.float32), [-1, shape[2] * 3])
    mean, scale = (tf.tile(tf.constant(v), [shape[2]]) for v in (data.mean, [1.0 / std for std in data.std]))
    return tf.ensure_shape(tf.reshape((rows - mean) * scale, shape), images.shape)
