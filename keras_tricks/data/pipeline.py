"""The input pipeline: makes batches from a split and the `data` and `augment` sections of a recipe.

Every random number is a function of (seed, epoch, example index). The pixels are therefore the same with one worker or
many, on one replica or several, and after a resume.
"""

import dataclasses
import functools
import itertools
import typing

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment.preprocessing import check_policies, evaluation_image, normalize
from keras_tricks.data.balanced_sampling import check_sampling, order_of, shuffle_index
from keras_tricks.data.batch_range import PARALLEL_CALLS, PREFETCH, BatchRange, as_targets, check_label, parallel_map
from keras_tricks.data.parts import rows_of_part
from keras_tricks.data.progressive_resizing import spans_of_sizes
from keras_tricks.data.repeated_augmentation import check_repeats, copy_of
from keras_tricks.data.sources.source import Split


def training_batches(split: Split, data: typing.Any, augment: typing.Any, num_classes: int, plan: typing.Any, seed: int,
                     epochs: range | None = None, service: typing.Any = None, first_step: int = 0, part: int = 0,
                     parts: int = 1) -> tf.data.Dataset:
    """Batches of consecutive epochs, each of which has its own shuffled order.

    Args:
        split: a `Split`.
        data, augment: the sections of a `Recipe`.
        num_classes: integer > 0.
        plan: `BatchSizePlan` that gives the size and number of the batches of each epoch.
        seed: integer.
        epochs: `range` of 0-based epochs. Defaults to those of the plan.
        service: `keras_tricks.data.service.Service` whose workers make the batches, with the same bits. Defaults to
            `None`: this process makes them.
        first_step: integer, number of batches of the first epoch to skip. Defaults to `0`.
        part, parts: integers. Only the rows of process `part` of `parts` are made of each batch, see `rows_of_part`.
            Defaults to all of them.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, 3)`, labels float32 `(batch, classes)`) of known
        length. The batch dimension is static if it is the same in all these epochs, and so is `size`, which is smaller
        than `data.image_size` in the epochs of `data.progressive_resizing`.
    """
    epochs = range(plan.epochs) if epochs is None else epochs
    arguments = data, augment, num_classes, plan, seed, epochs, part, parts
    local = from_step(batch_ranges(split, *arguments), first_step)
    if service is None:
        made = [part.host_batches(tf.data.Dataset.range(part.steps.start, part.steps.stop)) for part in local]
        if split.fetch is None:
            made[0] = made[0].skip(first_step)  # a stream starts with the first batch
    else:
        remote_data = data.model_copy(update={"workers": data.workers or tf.data.AUTOTUNE})  # of other machines
        remote = from_step(batch_ranges(service.split, remote_data, *arguments[1:]), first_step)
        made = [service.batches(*parts) for parts in zip(local, remote, strict=True)]
    finished = [batches.map(part.finish, PREFETCH, deterministic=True)
                for batches, part in zip(made, local, strict=True)]
    batches = functools.reduce(lambda a, b: a.concatenate(b), finished)
    count = plan.steps_before(epochs.stop) - plan.steps_before(epochs.start) - first_step
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(count)))


def batch_ranges(split, data, augment, num_classes, plan, seed, epochs, part=0, parts=1):
    """Yields the `BatchRange`s of some epochs. Arguments as for `training_batches`."""
    off = plan.epochs if augment.mix_off_epoch is None else augment.mix_off_epoch
    unmixed = augment.model_copy(update={"mixup_alpha": 0.0, "cutmix_alpha": 0.0})
    check_policies(augment)
    check_sampling(split, data.sampling)
    mixing = (range(0, off), augment), (range(off, plan.epochs), unmixed)
    sizes = spans_of_sizes(data.image_size, data.progressive_resizing, plan.epochs)
    for phase, (sized, size), (span, section) in itertools.product(plan, sizes, mixing):
        check_repeats(phase.step_size, augment.repeats)
        ranges = phase.epochs, epochs, sized, span
        common = range(max(r.start for r in ranges), min(r.stop for r in ranges))
        if common:
            steps = range(plan.steps_before(common.start), plan.steps_before(common.stop))
            yield BatchRange(steps, common, steps.start, phase, split, data.model_copy(update={"image_size": size}),
                             section, num_classes, seed, part, parts)


def from_step(parts, first_step):
    """The `BatchRange`s as a list, without the first batches of the first range."""
    first, *others = parts
    return [dataclasses.replace(first, steps=first.steps[first_step:]), *others]


def batch_indices(split: Split, plan: typing.Any, seed: int, epoch: int, step: int, repeats: int = 1,
                  sampling: str = "uniform") -> list[int]:
    """Indices in the split of the training examples of a 0-based `step` of a 0-based `epoch`.

    `repeats`, `sampling`: as `augment.repeats` and `data.sampling` of the recipe.
    """
    size, index_at = plan.phase(epoch).step_size, order_of(split, sampling)
    return [int(index_at(tf.constant(copy_of(p, repeats)[0], tf.int64), seed, epoch)[0])
            for p in range(step * size, (step + 1) * size)]


def training_examples(split: Split, epochs: range, seed: int, workers: int = 0) -> tf.data.Dataset:
    """A dataset of (image, label, intact) as read from the split, in the order of training.

    Args:
        split: a `Split`.
        epochs: `range` of 0-based epochs, each of all examples.
        seed: integer.
        workers: integer, parallel calls. Defaults to `0`: two per CPU.
    """
    total = split.num_examples
    if split.fetch is None:
        scans = tf.data.Dataset.range(epochs.start, epochs.stop)
        return scans.flat_map(lambda epoch: split.scan(epoch, tf.constant(seed, tf.int64)).map(lambda _, *rest: rest))
    positions = tf.data.Dataset.range(epochs.start * total, epochs.stop * total)
    fetch = lambda p: split.fetch(shuffle_index(p % total, seed, p // total, total))  # noqa: E731
    return positions.map(fetch, workers or PARALLEL_CALLS, deterministic=True)


def evaluation_batches(split: Split, data: typing.Any, num_classes: int, batch_size: int, replicas: int = 1,
                       part: int = 0, parts: int = 1) -> tf.data.Dataset:
    """One pass over the split, in order, with the evaluation crop, in full batches.

    The last batch is padded with black images of weight 0, so that all batches have the same shape and every replica
    has images. Results are sums over images divided by the sum of weights, so padding does not change them.

    Args:
        split: a `Split`.
        data: the section of a `Recipe`.
        num_classes: integer > 0.
        batch_size: integer > 0, rounded up to a multiple of `replicas`.
        replicas: integer > 0, number of devices that share a batch, in all processes. Defaults to `1`.
        part, parts: integers, as for `training_batches`.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, 3)`, labels float32 `(batch, classes)`, weights
        float32 `(batch,)`). The weight of a broken image is 0 as well.
    """

    def example(image, label, intact):
        return evaluation_image(image, data), check_label(label, num_classes), tf.cast(intact, tf.float32)

    total = split.num_examples
    size = -(-min(batch_size, total) // replicas) * replicas
    rows, steps = rows_of_part(size, part, parts), -(-total // size)
    is_made = lambda position: (position % size >= rows.own[0]) & (position % size <= rows.own[-1])  # noqa: E731
    positions = tf.data.Dataset.range(total)
    positions = positions if rows.whole else positions.filter(is_made)
    if split.fetch is not None:
        examples = parallel_map(positions, lambda i: example(*split.fetch(i)), data)
    else:
        stream = split.scan(tf.constant(0, tf.int64), None)
        if not rows.whole:
            stream = stream.enumerate().filter(lambda i, _: is_made(i)).map(lambda _, example: example)
        examples = parallel_map(stream, lambda _, *e: example(*e), data)
    no_label = tf.zeros(num_classes, tf.uint8) if split.multi_label else 0
    blank = tf.data.Dataset.from_tensors((tf.zeros((data.test_size, data.test_size, data.channels)), no_label, 0.0))
    missing = int(np.sum(rows.own >= total - (steps - 1) * size))  # in the last batch
    padded = examples.concatenate(blank.repeat(missing))
    batches = padded.batch(len(rows.own), drop_remainder=True).map(
        lambda x, y, w: (normalize(x, data), as_targets(y, num_classes), w))
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(steps)))


def first_images(split: Split, data: typing.Any, count: int = 5000) -> np.ndarray:
    """Up to `count` intact images with the evaluation crop, normalized: float32 `(n, size, size, 3)`.

    Evenly spaced ones of a split that is read by index, the first ones of a stream.
    """
    count = min(count, split.num_examples)
    if split.fetch is None:
        examples = split.scan(tf.constant(0, tf.int64), None).map(lambda _, *example: example).take(count)
    else:
        examples = tf.data.Dataset.range(count).map(lambda i: split.fetch(i * split.num_examples // count))
    cropped = parallel_map(examples, lambda image, _, intact: (evaluation_image(image, data), intact), data)
    batches = cropped.batch(500).map(lambda images, intact: (normalize(images, data), intact))
    return np.concatenate([images[intact] for images, intact in batches.as_numpy_iterator()])


def _finish(batches):
    options = tf.data.Options()
    options.deterministic = True
    # The autotuning thread sleeps up to a minute, and the end of an iterator waits for it (TensorFlow 2.21).
    options.autotune.enabled = False
    return batches.prefetch(PREFETCH).with_options(options)
