"""The input pipeline: a split and a recipe's `data` and `augment` sections -> batches.

Every random number is a function of (seed, epoch, example index): the pixels are the same with one worker or many, on
one replica or several, and after a resume.
"""

import dataclasses
import functools
import os
import typing

import tensorflow as tf

from keras_tricks.data.mixing import mix
from keras_tricks.data.preprocessing import augment_randomly, evaluation_image, normalize, training_image
from keras_tricks.data.tfds import EPOCH_STRIDE

# Keeps the order of partners apart from that of the images they are mixed with.
PARTNER_SEED = 500_009
# From the first image on: tf.data's own tuning begins with one call and takes hundreds of images to find more.
PARALLEL_CALLS = 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
AHEAD = 2  # batches finished while one is used


def training_batches(split, data, augment, num_classes, plan, seed, epochs=None, service=None, first_step=0):
    """Batches of consecutive epochs, one after the other, each epoch in a shuffled order of its own.

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
    local = from_step(batch_ranges(split, *arguments), first_step)
    if service is None:
        made = [part.host_batches(tf.data.Dataset.range(part.steps.start, part.steps.stop)) for part in local]
        if split.fetch is None:
            made[0] = made[0].skip(first_step)  # a stream makes them all
    else:
        remote_data = data.model_copy(update={"workers": data.workers or tf.data.AUTOTUNE})  # other machines' CPUs
        remote = from_step(batch_ranges(service.split, remote_data, *arguments[1:]), first_step)
        made = [service.batches(*parts) for parts in zip(local, remote, strict=True)]
    finished = [batches.map(part.finish, AHEAD, deterministic=True)
                for batches, part in zip(made, local, strict=True)]
    batches = functools.reduce(lambda a, b: a.concatenate(b), finished)
    count = plan.steps_before(epochs.stop) - plan.steps_before(epochs.start) - first_step
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(count)))


@dataclasses.dataclass(frozen=True)
class BatchRange:
    """The batches of consecutive epochs with one batch size, with or without mixing.

    Making them has two halves, which may run on two machines: `host_batches` reads, crops and augments; `finish` mixes,
    normalizes and encodes the labels.

    Attributes:
        steps: `range` of the batches to make, counted from the start of training.
        epochs: `range` of its epochs.
        start: integer, step at which these epochs begin.
        phase: the `Phase` of the plan they belong to.
        split: a `Split`.
        data, augment: the sections of a `Recipe`; the latter without mixing where it is off.
        num_classes: integer.
        seed: integer.
    """

    steps: range
    epochs: range
    start: int
    phase: typing.Any
    split: typing.Any
    data: typing.Any
    augment: typing.Any
    num_classes: int
    seed: int

    @property
    def mixing(self):
        return bool(self.augment.mixup_alpha or self.augment.cutmix_alpha)

    @property
    def pairs(self):
        """Whether each image has a partner of its own, from a second order of the same data."""
        return self.mixing and self.augment.mix_first

    @property
    def batch_size(self):
        return self.phase.step_size

    @property
    def epoch_size(self):
        """Images of an epoch."""
        return self.phase.steps_per_epoch * self.phase.step_size

    # --- on the host ------------------------------------------------------------------------------------------------

    def host_batches(self, chosen):
        """The batches of some steps, before they are mixed and normalized.

        Args:
            chosen: `tf.data.Dataset` of steps, int64 scalars. A split that is read as a stream makes all its steps,
                whichever are chosen.

        Returns:
            `tf.data.Dataset` of `(step int64, intact bool, images, labels)`. `intact` is false where an example
            replaces a broken one. Images and labels are as small as they can be without losing a bit.
        """
        examples = self._indexed(chosen) if self.split.fetch is not None else self._streamed()
        batches = examples.batch(self.batch_size, drop_remainder=True)
        if not self.pairs:
            return batches.map(lambda steps, own: (steps[0], tf.reduce_all(own[3]), own[1], own[2]))
        mixtures = batches.map(self._mix_pairs, AHEAD, deterministic=True).unbatch()
        augmented = _parallel_map(mixtures, self._augment_mixture, self.data)
        return augmented.batch(self.batch_size, drop_remainder=True).map(
            lambda steps, intact, images, labels: (steps[0], tf.reduce_all(intact), images, labels))

    @property
    def _orders(self):
        """Seeds of the orders in which the data are read: a second one for partners."""
        return (self.seed, self.seed + PARTNER_SEED) if self.pairs else (self.seed,)

    @property
    def _first_position(self):
        """Positions count the images of all epochs as if all had this batch size."""
        return self.epochs.start * self.epoch_size

    def _indexed(self, chosen):
        """(step, example of each order) of the chosen steps, read by index."""

        def positions(step):
            first = self._first_position + (step - self.start) * self.batch_size
            return tf.data.Dataset.range(first, first + self.batch_size)

        def examples_at(position):
            return self._step_of(position), *(self._example_at(order, position) for order in self._orders)

        return _parallel_map(chosen.flat_map(positions), examples_at, self.data)

    def _streamed(self):
        """(step, example of each order) of all steps, read as a stream."""

        def scanned(order):
            def one_epoch(epoch):
                stream = self.split.scan(epoch, tf.constant(order, tf.int64)).take(self.epoch_size)
                return stream.map(lambda *contents: (tf.constant(order, tf.int64), epoch, *contents))

            epochs = tf.data.Dataset.range(self.epochs.start, self.epochs.stop)
            return _parallel_map(epochs.flat_map(one_epoch), self._example, self.data)

        positions = tf.data.Dataset.range(self._first_position, self.epochs.stop * self.epoch_size)
        return tf.data.Dataset.zip((positions.map(self._step_of), *map(scanned, self._orders)))

    def _step_of(self, position):
        return self.start + (position - self._first_position) // self.batch_size

    def _example_at(self, order, position):
        epoch = position // self.epoch_size
        index = _shuffled(position % self.epoch_size, order, epoch, self.split.num_examples)
        return self._example(order, epoch, index, *self.split.fetch(index))

    def _example(self, order, epoch, index, image, label, intact):
        """(seed, image, label, intact): cropped, and augmented unless it is to be mixed first."""
        example_seed = tf.stack([order + epoch * EPOCH_STRIDE, index])
        image = training_image(image, self.data, self.augment, example_seed)
        image = image if self.pairs else augment_randomly(image, self.augment, example_seed)
        return example_seed, image, _checked(label, self.num_classes), intact

    def _mix_pairs(self, steps, own, partner):
        seeds, images, labels, intact = own
        _, others, other_labels, others_intact = partner
        partners = tf.cast(others, tf.float32), self._one_hot(other_labels)
        return steps, intact & others_intact, seeds, *self._mix(steps[0], images, self._one_hot(labels), partners)

    def _augment_mixture(self, step, intact, example_seed, image, label):
        return step, intact, augment_randomly(image, self.augment, example_seed), label

    # --- before the device ------------------------------------------------------------------------------------------

    def finish(self, step, _, images, labels):
        """(images, labels) as `training_batches` returns them, of a batch of `host_batches`."""
        labels = labels if self.pairs else self._one_hot(labels)
        if self.mixing and not self.pairs:
            images, labels = self._mix(step, images, labels)
        return normalize(images, self.data), labels

    def _mix(self, step, images, labels, partners=None):
        # The step counts from the start of training, so a resumed run mixes as an uninterrupted one.
        return mix(tf.cast(images, tf.float32), labels, self.augment, tf.stack([self.seed + 1, step]), partners)

    def _one_hot(self, labels):
        return tf.one_hot(labels, self.num_classes)


def batch_ranges(split, data, augment, num_classes, plan, seed, epochs):
    """Yields the `BatchRange`s of some epochs. Arguments as for `training_batches`."""
    off = plan.epochs if augment.mix_off_epoch is None else augment.mix_off_epoch
    unmixed = augment.model_copy(update={"mixup_alpha": 0.0, "cutmix_alpha": 0.0})
    for phase in plan:
        for span, section in ((range(0, off), augment), (range(off, plan.epochs), unmixed)):
            common = range(max(phase.epochs.start, epochs.start, span.start),
                           min(phase.epochs.stop, epochs.stop, span.stop))
            if common:
                steps = range(plan.steps_before(common.start), plan.steps_before(common.stop))
                yield BatchRange(steps, common, steps.start, phase, split, data, section, num_classes, seed)


def from_step(parts, first_step):
    """The `BatchRange`s as a list, the first one without its first batches."""
    first, *others = parts
    return [dataclasses.replace(first, steps=first.steps[first_step:]), *others]


def batch_indices(split, plan, seed, epoch, step):
    """Which training examples the 0-based `step` of the 0-based `epoch` holds, by number in the split."""
    size = plan.phase(epoch).step_size
    return [int(_shuffled(tf.constant(p, tf.int64), seed, epoch, split.num_examples))
            for p in range(step * size, (step + 1) * size)]


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
    batches = examples.batch(batch_size).map(lambda x, y, w: (normalize(x, data), tf.one_hot(y, num_classes), w))
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(-(-split.num_examples // batch_size))))


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
