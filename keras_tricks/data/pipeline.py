"""The input pipeline: a split and a recipe's `data` and `augment` sections -> batches.

Every random number is a function of (seed, epoch, example index): the pixels are the same with one worker or many, on
one replica or several, and after a resume.
"""

import time

import numpy as np
import tensorflow as tf

from keras_tricks.data import color, crops
from keras_tricks.data.mixing import mixup
from keras_tricks.data.tfds import EPOCH_STRIDE


def training_batches(split, data, augment, num_classes, batch_size, epochs, seed, start_epoch=0,
                     steps_per_epoch=None):
    """Batches of all epochs, one after the other, in a shuffled order of their own each.

    Args:
        split: a `Split`.
        data, augment: the sections of a `Recipe`.
        num_classes: integer > 0.
        batch_size: images per batch, on all replicas together. The last incomplete batch of an epoch is dropped.
        epochs: integer, last epoch (exclusive).
        seed: integer.
        start_epoch: integer, first epoch.
        steps_per_epoch: integer, batches in an epoch. Defaults to as many as are full.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, 3)`, labels float32 `(batch, classes)`) of known
        length `(epochs - start_epoch) * steps_per_epoch`.
    """
    steps = steps_per_epoch or split.num_examples // batch_size
    per_epoch = steps * batch_size

    def example(epoch, index, image, label):
        image = _train_image(image, data, augment, tf.stack([seed + epoch * EPOCH_STRIDE, index]))
        return image, _checked(label, num_classes)

    def by_position(position):
        epoch = position // per_epoch
        index = tf.random.experimental.index_shuffle(
            position % per_epoch, seed=tf.stack([seed, epoch]), max_index=split.num_examples - 1
        )
        image, label, _ = split.fetch(index)
        return example(epoch, index, image, label)

    def one_epoch(epoch):
        examples = split.scan(epoch, tf.constant(seed, tf.int64)).take(per_epoch)
        return examples.map(lambda index, image, label, _: (epoch, index, image, label))

    if split.fetch is not None:
        positions = tf.data.Dataset.range(start_epoch * per_epoch, epochs * per_epoch)
        examples = _parallel_map(positions, by_position, data)
    else:
        examples = tf.data.Dataset.range(start_epoch, epochs).flat_map(one_epoch)
        examples = _parallel_map(examples, example, data)

    def batch(step, contents):
        images, labels = contents
        labels = tf.one_hot(labels, num_classes)
        if augment.mixup_alpha:
            # The step counts from the start of training, so a resumed run mixes as an uninterrupted one.
            images, labels = mixup(images, labels, augment.mixup_alpha, tf.stack([seed + 1, step]), augment.mixup_per)
        return _normalize(images, data), labels

    batches = examples.batch(batch_size, drop_remainder=True).enumerate(start_epoch * steps)
    batches = batches.map(batch, tf.data.AUTOTUNE, deterministic=True)
    return _finish(batches.apply(tf.data.experimental.assert_cardinality((epochs - start_epoch) * steps)))


def evaluation_batches(split, data, num_classes, batch_size):
    """The split once, in order, with the evaluation crop.

    Returns:
        `tf.data.Dataset` of (images, labels, weights float32 `(batch,)`); the weight of a broken image is 0. The last
        batch may be smaller.
    """

    def example(image, label, intact):
        return evaluation_image(image, data), _checked(label, num_classes), tf.cast(intact, tf.float32)

    if split.fetch is not None:
        examples = tf.data.Dataset.range(split.num_examples)
        examples = _parallel_map(examples, lambda i: example(*split.fetch(i)), data)
    else:
        examples = split.scan(tf.constant(0, tf.int64), None)
        examples = _parallel_map(examples, lambda _, *e: example(*e), data)
    batches = examples.batch(batch_size).map(lambda x, y, w: (_normalize(x, data), tf.one_hot(y, num_classes), w))
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(-(-split.num_examples // batch_size))))


def evaluation_image(image, data):
    """One encoded or uint8 image -> float32 `(size, size, 3)` in 0-255, as `data.eval_crop` says."""
    size, resizing = data.test_size, dict(interpolation=data.interpolation, antialias=data.antialias)
    if data.eval_crop == "short_side":
        return crops.short_side_crop(image, size, data.short_side, **resizing)
    return crops.whole(image, size, **resizing)


def _train_image(image, data, augment, seed):
    size, resizing = data.image_size, dict(interpolation=data.interpolation, antialias=data.antialias)
    seeds = tf.random.split(seed, 4)
    if augment.crop == "random_resized":
        image = crops.random_resized_crop(image, size, seeds[0], augment.crop_area, augment.crop_aspect, **resizing)
    elif augment.crop == "pad":
        image = crops.pad_crop(image, size, seeds[0], augment.pad, augment.pad_mode, **resizing)
    else:
        image = crops.whole(image, size, **resizing)
    if augment.flip:
        flipped = tf.random.stateless_uniform([], seeds[1]) < 0.5
        image = tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)
    if augment.color_jitter != "none":
        image = color.color_jitter(image, seeds[2], augment.color_jitter, augment.color_jitter_strength)
    if augment.pca_noise:
        image = color.pca_noise(image, tf.random.stateless_normal([3], seeds[3], stddev=augment.pca_noise))
    return tf.ensure_shape(image, (size, size, 3))


def _normalize(images, data):
    return (images - tf.constant(data.mean)) * (1.0 / tf.constant(data.std))


def _checked(label, num_classes):
    """The label itself. Fails with "... is not in [0, classes)" when it is not one of the model's classes."""
    return tf.gather(tf.range(num_classes), label)  # a stateless check: an assertion would make the map sequential


def _parallel_map(dataset, function, data):
    return dataset.map(function, num_parallel_calls=data.workers or tf.data.AUTOTUNE, deterministic=True)


def _finish(batches):
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


class WaitClock:
    """Counts the seconds a consumer waits for a dataset's next element.

    The three datasets of a `zip` are asked in order, so the first stamp is taken when an element is wanted and the
    last one when it is there. (Python's clock, because deterministic TensorFlow refuses `tf.timestamp`.)
    """

    def __init__(self):
        self.seconds = 0.0

    def watch(self, dataset):
        """The same dataset, timed."""

        def stamp(_):
            return tf.ensure_shape(tf.numpy_function(time.perf_counter, [], tf.float64), ())

        def add(asked, arrived):
            self.seconds += float(arrived - asked)
            return np.int64(0)

        def record(asked, element, arrived):
            with tf.control_dependencies([tf.numpy_function(add, [asked, arrived], tf.int64)]):
                return tf.nest.map_structure(tf.identity, element)

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a buffer behind the clock would hide the wait
        stamps = tf.data.Dataset.counter().map(stamp)
        timed = tf.data.Dataset.zip((stamps, dataset, stamps)).map(record)
        return timed.apply(tf.data.experimental.assert_cardinality(dataset.cardinality())).with_options(options)
