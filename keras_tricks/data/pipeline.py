"""The input pipeline: a split and a recipe's `data` and `augment` sections -> batches.

Every random number is a function of (seed, epoch, example index): the pixels are the same with one worker or many, on
one replica or several, and after a resume.
"""

import functools
import time

import numpy as np
import tensorflow as tf

from keras_tricks.data import color, crops
from keras_tricks.data.mixing import mix
from keras_tricks.data.rand_augment import rand_augment
from keras_tricks.data.tfds import EPOCH_STRIDE

# Seeds of things drawn for the same example stay clear of each other.
PARTNER_SEED, RAND_AUGMENT_SEED = 500_009, 250_007


def training_batches(split, data, augment, num_classes, plan, seed, epochs=None):
    """Batches of consecutive epochs, one after the other, in a shuffled order of their own each.

    Args:
        split: a `Split`.
        data, augment: the sections of a `Recipe`.
        num_classes: integer > 0.
        plan: `BatchSizePlan`, for the size and number of batches in each epoch.
        seed: integer.
        epochs: `range` of 0-based epochs. Defaults to those of the plan.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, 3)`, labels float32 `(batch, classes)`) of known
        length. The batch dimension is static when it is the same in all these epochs.
    """
    epochs = range(plan.epochs) if epochs is None else epochs
    parts = []
    for some, phase, augment_then in _parts(plan, augment, epochs):
        first_step = plan.steps_before(some.start)
        parts.append(_batches(split, data, augment_then, num_classes, phase, seed, some, first_step))
    batches = functools.reduce(lambda a, b: a.concatenate(b), parts)
    count = plan.steps_before(epochs.stop) - plan.steps_before(epochs.start)
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(count)))


def _parts(plan, augment, epochs):
    """(epochs, phase, augment section) of each stretch of epochs with one batch size, with or without mixing."""
    off = plan.epochs if augment.mix_off_epoch is None else augment.mix_off_epoch
    unmixed = augment.model_copy(update={"mixup_alpha": 0.0, "cutmix_alpha": 0.0})
    for phase in plan:
        for stretch, section in ((range(0, off), augment), (range(off, plan.epochs), unmixed)):
            common = range(max(phase.epochs.start, epochs.start, stretch.start),
                           min(phase.epochs.stop, epochs.stop, stretch.stop))  # fmt: skip
            if common:
                yield common, phase, section


def _batches(split, data, augment, num_classes, phase, seed, epochs, first_step):
    """`training_batches` of some epochs of one phase. `first_step` counts batches from the start of training."""
    per_epoch = phase.steps_per_epoch * phase.step_size

    def examples(order_seed, then):
        """`then(example seed, image, label)` of every example, in a shuffled order for each epoch."""

        def by_position(position):
            epoch = position // per_epoch
            index = tf.random.experimental.index_shuffle(
                position % per_epoch, seed=tf.stack([order_seed, epoch]), max_index=split.num_examples - 1
            )
            image, label, _ = split.fetch(index)
            return numbered(epoch, index, image, label)

        def numbered(epoch, index, image, label):
            return then(tf.stack([order_seed + epoch * EPOCH_STRIDE, index]), image, _checked(label, num_classes))

        def one_epoch(epoch):
            scanned = split.scan(epoch, tf.constant(order_seed, tf.int64)).take(per_epoch)
            return scanned.map(lambda index, image, label, _: (epoch, index, image, label))

        if split.fetch is not None:
            positions = tf.data.Dataset.range(epochs.start * per_epoch, epochs.stop * per_epoch)
            return _parallel_map(positions, by_position, data)
        return _parallel_map(tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch), numbered, data)

    def cropped(example_seed, image, label):
        return example_seed, _train_image(image, data, augment, example_seed), label

    def augmented(example_seed, image, label):
        return _rand_augment(_train_image(image, data, augment, example_seed), augment, example_seed), label

    def mixed(step, images, labels, partners=None):
        # The step counts from the start of training, so a resumed run mixes as an uninterrupted one.
        if not (augment.mixup_alpha or augment.cutmix_alpha):
            return images, labels
        return mix(tf.cast(images, tf.float32), labels, augment, tf.stack([seed + 1, step]), partners)

    def one_hot(labels):
        return tf.one_hot(labels, num_classes)

    if not (augment.mix_first and (augment.mixup_alpha or augment.cutmix_alpha)):
        batches = examples(seed, augmented).batch(phase.step_size, drop_remainder=True).enumerate(first_step)

        def finished(step, contents):
            images, labels = mixed(step, contents[0], one_hot(contents[1]))
            return _normalize(images, data), labels

        return batches.map(finished, tf.data.AUTOTUNE, deterministic=True)

    # Each image has a partner of its own, from a second order of the same data.
    batches = [examples(s, cropped).batch(phase.step_size, drop_remainder=True) for s in (seed, seed + PARTNER_SEED)]
    pairs = tf.data.Dataset.zip(tuple(batches)).enumerate(first_step)

    def mixed_pairs(step, contents):
        (seeds, images, labels), (_, others, other_labels) = contents
        partners = tf.cast(others, tf.float32), one_hot(other_labels)
        return seeds, *mixed(step, images, one_hot(labels), partners)

    def augmented_after(example_seed, image, label):
        return _rand_augment(image, augment, example_seed), label

    mixtures = pairs.map(mixed_pairs, tf.data.AUTOTUNE, deterministic=True).unbatch()
    batches = _parallel_map(mixtures, augmented_after, data).batch(phase.step_size, drop_remainder=True)
    return batches.map(lambda x, y: (_normalize(x, data), y), tf.data.AUTOTUNE, deterministic=True)


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


def _rand_augment(image, augment, seed):
    """float32 in, uint8 out when there is something to do."""
    if not augment.rand_augment_layers:
        return image
    return rand_augment(
        tf.saturate_cast(image, tf.uint8), seed + RAND_AUGMENT_SEED, augment.rand_augment_layers,
        augment.rand_augment_magnitude, augment.rand_augment_probability, augment.rand_augment_translate,
    )


def _normalize(images, data):
    """(x - mean) / std, float32. Rows are taken whole: TensorFlow is slow at repeating three numbers."""
    shape = tf.shape(images)
    rows = tf.reshape(tf.cast(images, tf.float32), [-1, shape[2] * 3])
    mean, scale = (tf.tile(tf.constant(v), [shape[2]]) for v in (data.mean, [1.0 / std for std in data.std]))
    return tf.ensure_shape(tf.reshape((rows - mean) * scale, shape), images.shape)


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
