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
    """Crops one encoded or uint8 image by `data.eval_crop`: float32 `(size, size, data.channels)` in 0-255."""
    return in_channels(_evaluation_crop(image, data), data.channels)


def _evaluation_crop(image, data):
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
    """Crops, flips and changes the colours of one encoded or uint8 image: float32 in 0-255, `(size, size, 3)`
    also if the network gets grey images, or `(size, size, data.channels)` with more channels.

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
    return tf.ensure_shape(image, (size, size, decoded_channels(data)))


def _oriented(image, data):
    return upright(image) if data.exif == "apply" and crops.is_encoded(image) else image


def decoded_channels(data: typing.Any) -> int:
    """Channels of images before `in_channels`: 3 if the network gets grey ones, which are augmented in colour."""
    return 3 if data.channels == 1 else data.channels


def in_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """The luma (ITU-R BT.601) of an image in colour if `channels` is 1, else the image. Grey pixels stay the same."""
    if channels != 1 or image.shape[-1] == 1:
        return image
    red, green, blue = tf.unstack(tf.cast(image, tf.float32), num=3, axis=-1)
    return (red + 0.587 * (green - red) + 0.114 * (blue - red))[..., None]  # exactly red if all three are equal


def per_channel(values: typing.Sequence[float], channels: int) -> tuple[float, ...]:
    """The values, one for each channel; one value stands for all."""
    return tuple(values) * (channels if len(values) == 1 else 1)


def check_policies(augment: typing.Any) -> None:
    """Raises `UserError` for settings of the `augment` section that exclude each other, or have no effect."""
    if augment.trivial_augment and augment.rand_augment_layers:
        raise UserError("`augment.trivial_augment` and `augment.rand_augment_layers` are two policies: switch one off.")
    if augment.rand_augment_magnitude_std and not augment.rand_augment_increasing:
        raise UserError("`augment.rand_augment_magnitude_std` needs `augment.rand_augment_increasing=true`.")


def augment_randomly(image: tf.Tensor, data: typing.Any, augment: typing.Any, seed: tf.Tensor) -> tf.Tensor:
    """Applies RandAugment or TrivialAugment (float32 in 0-255 -> uint8), grey and random erasing (-> float32).

    A recipe without them returns the image unchanged.
    """
    if augment.rand_augment_layers and augment.rand_augment_increasing:
        fill = tuple(round(mean) for mean in per_channel(data.mean, 3))
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
    image = in_channels(image, data.channels)
    if augment.random_erasing:
        image = random_erasing(image, seed + ERASING_SEED, augment.random_erasing, augment.random_erasing_mode,
                               data.mean, data.std)
    return image


def normalize(images: tf.Tensor, data: typing.Any) -> tf.Tensor:
    """(x - mean) / std, float32. Works on whole rows, because TensorFlow is slow to broadcast three numbers."""
    shape = tf.shape(images)
    rows = tf.reshape(tf.cast(images, tf.float32), [-1, shape[2] * data.channels])
    scales = [1.0 / std for std in data.std]
    mean, scale = (tf.tile(tf.constant(per_channel(v, data.channels)), [shape[2]]) for v in (data.mean, scales))
    return tf.ensure_shape(tf.reshape((rows - mean) * scale, shape), images.shape)
