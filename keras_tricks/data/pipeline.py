"""The input pipeline: a split and a recipe's `data` and `augment` sections -> batches.

Every random number is a function of (seed, epoch, example index): the pixels are the same with one worker or many, on
one replica or several, and after a resume.
"""

import dataclasses
import functools
import os
import time
import typing

import numpy as np
import tensorflow as tf

from keras_tricks.data import color, crops
from keras_tricks.data.mixing import mix
from keras_tricks.data.rand_augment import rand_augment
from keras_tricks.data.tfds import EPOCH_STRIDE

# Seeds of things drawn for the same example stay clear of each other.
PARTNER_SEED, RAND_AUGMENT_SEED = 500_009, 250_007
# From the first image on: tf.data's own tuning begins with one call and takes hundreds of images to find more.
PARALLEL_CALLS = 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
AHEAD = 2  # batches finished while one is used


def training_batches(split, data, augment, num_classes, plan, seed, epochs=None, service=None, first_step=0):
    """Batches of consecutive epochs, one after the other, in a shuffled order of their own each.

    Args:
        split: a `Split`.
        data, augment: the sections of a `Recipe`.
        num_classes: integer > 0.
        plan: `BatchSizePlan`, for the size and number of batches in each epoch.
        seed: integer.
        epochs: `range` of 0-based epochs. Defaults to those of the plan.
        service: `keras_tricks.data.service.Service`, whose workers make the batches. Defaults to `None`, this process;
            the bits are the same.
        first_step: integer, batches of the first epoch that are left out. Defaults to `0`.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, 3)`, labels float32 `(batch, classes)`) of known
        length. The batch dimension is static when it is the same in all these epochs.
    """
    epochs = range(plan.epochs) if epochs is None else epochs
    arguments = data, augment, num_classes, plan, seed, epochs
    parts = from_step(stretches(split, *arguments), first_step)
    if service is None:
        made = [part.make(tf.data.Dataset.range(part.steps.start, part.steps.stop)) for part in parts]
        if split.fetch is None:
            made[0] = made[0].skip(first_step)  # a stream makes them all
    else:
        abroad = data.model_copy(update={"workers": data.workers or tf.data.AUTOTUNE})  # other machines, other CPUs
        remote = from_step(stretches(service.split, abroad, *arguments[1:]), first_step)
        made = [service.batches(here, there) for here, there in zip(parts, remote, strict=True)]
    finished = [batches.map(part.finish, AHEAD, deterministic=True)
                for batches, part in zip(made, parts, strict=True)]  # fmt: skip
    batches = functools.reduce(lambda a, b: a.concatenate(b), finished)
    count = plan.steps_before(epochs.stop) - plan.steps_before(epochs.start) - first_step
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(count)))


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Consecutive epochs with one batch size, with or without mixing, in two halves that may run on two machines.

    Attributes:
        steps: `range` of its batches, counted from the start of training.
        make: function of a `tf.data.Dataset` of some of these steps, int64 scalars. Returns a dataset of their batches
            `(step int64, intact bool, images, labels)`, whatever steps these are. `intact` is false where an example
            stands in the place of a broken one; images and labels are as small as they can be without losing a bit.
            A split read as a stream makes all steps, whatever it is given.
        finish: function of such a batch. Returns (images, labels) as `training_batches` does.
    """

    steps: range
    make: typing.Callable
    finish: typing.Callable


def stretches(split, data, augment, num_classes, plan, seed, epochs):
    """Yields the `Stretch`es of some epochs. Arguments as for `training_batches`."""
    off = plan.epochs if augment.mix_off_epoch is None else augment.mix_off_epoch
    unmixed = augment.model_copy(update={"mixup_alpha": 0.0, "cutmix_alpha": 0.0})
    for phase in plan:
        for span, section in ((range(0, off), augment), (range(off, plan.epochs), unmixed)):
            common = range(max(phase.epochs.start, epochs.start, span.start),
                           min(phase.epochs.stop, epochs.stop, span.stop))  # fmt: skip
            if common:
                steps = range(plan.steps_before(common.start), plan.steps_before(common.stop))
                yield _stretch(split, data, section, num_classes, phase, seed, common, steps)


def from_step(parts, first_step):
    """The `Stretch`es as a list, the first one without its first batches."""
    first, *others = parts
    return [dataclasses.replace(first, steps=first.steps[first_step:]), *others]


def batch_indices(split, plan, seed, epoch, step):
    """Which training examples the 0-based `step` of the 0-based `epoch` holds, by number in the split."""
    size = plan.phase(epoch).step_size
    return [int(_shuffled(tf.constant(p, tf.int64), seed, epoch, split.num_examples))
            for p in range(step * size, (step + 1) * size)]  # fmt: skip


def _stretch(split, data, augment, num_classes, phase, seed, epochs, steps):
    """The `Stretch` of some epochs of one phase."""
    size, per_epoch = phase.step_size, phase.steps_per_epoch * phase.step_size
    first_position = epochs.start * per_epoch
    mixing = bool(augment.mixup_alpha or augment.cutmix_alpha)
    pairs = mixing and augment.mix_first  # each image has a partner of its own, from a second order of the same data
    orders = (seed, seed + PARTNER_SEED) if pairs else (seed,)

    def example(order, epoch, index, image, label, intact):
        """Cropped, and augmented unless it is to be mixed first."""
        example_seed = tf.stack([order + epoch * EPOCH_STRIDE, index])
        image = _train_image(image, data, augment, example_seed)
        image = image if pairs else _rand_augment(image, augment, example_seed)
        return example_seed, image, _checked(label, num_classes), intact

    def of_order(order, position):
        epoch = position // per_epoch
        index = _shuffled(position % per_epoch, order, epoch, split.num_examples)
        return example(order, epoch, index, *split.fetch(index))

    def positions(step):
        first = first_position + (step - steps.start) * size
        return tf.data.Dataset.range(first, first + size)

    def step_of(position):
        return steps.start + (position - first_position) // size

    def scanned(order):
        def one_epoch(epoch):
            stream = split.scan(epoch, tf.constant(order, tf.int64)).take(per_epoch)
            return stream.map(lambda *contents: (tf.constant(order, tf.int64), epoch, *contents))

        return _parallel_map(tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch), example, data)

    def make(chosen):
        if split.fetch is not None:
            examples = _parallel_map(chosen.flat_map(positions),
                                     lambda p: (step_of(p), *(of_order(order, p) for order in orders)), data)
        else:
            numbers = tf.data.Dataset.range(first_position, epochs.stop * per_epoch).map(step_of)
            examples = tf.data.Dataset.zip((numbers, *map(scanned, orders)))
        batches = examples.batch(size, drop_remainder=True)
        if not pairs:
            return batches.map(lambda steps, own: (steps[0], tf.reduce_all(own[3]), own[1], own[2]))
        mixtures = batches.map(mixed_pairs, AHEAD, deterministic=True).unbatch()
        return (_parallel_map(mixtures, augmented_after, data).batch(size, drop_remainder=True)
                .map(lambda steps, intact, x, y: (steps[0], tf.reduce_all(intact), x, y)))  # fmt: skip

    def mixed_pairs(numbers, own, other):
        seeds, images, labels, intact = own
        _, others, other_labels, others_intact = other
        partners = tf.cast(others, tf.float32), one_hot(other_labels)
        return numbers, intact & others_intact, seeds, *mixed(numbers[0], images, one_hot(labels), partners)

    def augmented_after(number, intact, example_seed, image, label):
        return number, intact, _rand_augment(image, augment, example_seed), label

    def mixed(step, images, labels, partners=None):
        # The step counts from the start of training, so a resumed run mixes as an uninterrupted one.
        return mix(tf.cast(images, tf.float32), labels, augment, tf.stack([seed + 1, step]), partners)

    def one_hot(labels):
        return tf.one_hot(labels, num_classes)

    def finish(step, _, images, labels):
        labels = labels if pairs else one_hot(labels)
        if mixing and not pairs:
            images, labels = mixed(step, images, labels)
        return _normalize(images, data), labels

    return Stretch(steps, make, finish)


def training_examples(split, epochs, seed, workers=0):
    """`tf.data.Dataset` of (image, label, intact) as the split hands them out, in the order of training.

    Args:
        split: a `Split`.
        epochs: `range` of 0-based epochs, each of all examples.
        seed: integer.
        workers: integer, parallel calls; `0` for two for each CPU.
    """
    total = split.num_examples
    if split.fetch is None:
        scans = tf.data.Dataset.range(epochs.start, epochs.stop)
        return scans.flat_map(lambda epoch: split.scan(epoch, tf.constant(seed, tf.int64)).map(lambda _, *rest: rest))
    positions = tf.data.Dataset.range(epochs.start * total, epochs.stop * total)
    fetch = lambda p: split.fetch(_shuffled(p % total, seed, p // total, total))  # noqa: E731
    return positions.map(fetch, workers or PARALLEL_CALLS, deterministic=True)


def _shuffled(position, order, epoch, total):
    """The index at a position of an epoch, in the shuffled order of its own."""
    return tf.random.experimental.index_shuffle(position, seed=tf.stack([order, epoch]), max_index=total - 1)


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
    if data.eval_crop == "center":
        return crops.center_crop(image, size, data.crop_pct, **resizing)
    if data.eval_crop == "squash":
        return crops.squash_crop(image, size, data.crop_padding, **resizing)
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
    return dataset.map(function, num_parallel_calls=data.workers or PARALLEL_CALLS, deterministic=True)


def _finish(batches):
    options = tf.data.Options()
    options.deterministic = True
    # Its thread sleeps longer and longer (up to a minute), and an iterator's end waits for it (TensorFlow 2.21).
    options.autotune.enabled = False
    return batches.prefetch(AHEAD).with_options(options)


class WaitClock:
    """Counts the seconds a consumer waits for a dataset's next element.

    The three datasets of a `zip` are asked in order, so the first notes when an element is wanted and the last one when
    it is there. (By Python's clock, because deterministic TensorFlow refuses `tf.timestamp`; and the sum is
    Python's too, because TensorFlow 2.21 keeps every number, zero apart, that is all a `tf.numpy_function` returns.)
    """

    def __init__(self):
        self.seconds = 0.0

    def watch(self, dataset):
        """The same dataset, timed."""
        asked = 0.0

        def ask(_):
            nonlocal asked
            asked = time.perf_counter()
            return np.int64(0)

        def arrive(_):
            self.seconds += time.perf_counter() - asked
            return np.int64(0)

        def calls(function):
            return tf.data.Dataset.counter().map(lambda i: tf.numpy_function(function, [i], tf.int64))

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a buffer behind the clock would hide the wait
        timed = tf.data.Dataset.zip((calls(ask), dataset, calls(arrive))).map(lambda _, element, __: element)
        return timed.apply(tf.data.experimental.assert_cardinality(dataset.cardinality())).with_options(options)
