"""The batches of some epochs as functions of their step, so that any process can make any of them."""

import dataclasses
import functools
import os
import typing

import tensorflow as tf

from keras_tricks.data.augment.alternating_flip import is_mirrored
from keras_tricks.data.augment.mixing import mix
from keras_tricks.data.augment.preprocessing import augment_randomly, normalize, training_image
from keras_tricks.data.balanced_sampling import order_of
from keras_tricks.data.parts import rows_of_part
from keras_tricks.data.repeated_augmentation import COPY_STRIDE, copy_of
from keras_tricks.data.sources.tfds import EPOCH_STRIDE

PARTNER_SEED = 500_009  # offset that separates the order of partners from that of the images they are mixed with
# Fixed, because tf.data's autotuning starts with one call and needs hundreds of images to increase it.
PARALLEL_CALLS = 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
PREFETCH = 2  # batches that are prepared while one is used


@dataclasses.dataclass(frozen=True)
class BatchRange:
    """The batches of consecutive epochs with one batch size, with or without mixing.

    A batch is made in two steps, which may run on two machines: `host_batches` reads, crops and augments; `finish`
    mixes, normalizes and encodes the labels.

    Attributes:
        steps: `range` of the batches to make, counted from the start of training.
        epochs: `range` of the epochs.
        start: integer, first step of these epochs.
        phase: the `Phase` of the plan to which they belong.
        split: a `Split`.
        data, augment: the sections of a `Recipe`, the latter without mixing in epochs where it is off.
        num_classes: integer.
        seed: integer.
        part, parts: integers, index of the process that makes its rows of each batch, and number of processes.
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
    part: int = 0
    parts: int = 1

    @property
    def mixing(self):
        """Whether mixup or CutMix is on."""
        return bool(self.augment.mixup_alpha or self.augment.cutmix_alpha)

    @property
    def pairs(self):
        """Whether partners come from a second pass over the data, in another order."""
        return self.mixing and self.augment.mix_first

    @property
    def batch_size(self):
        """Images of a batch."""
        return self.phase.step_size

    @functools.cached_property
    def rows(self):
        """The `Rows` of a batch that this process makes."""
        return rows_of_part(self.batch_size, self.part, self.parts, self.mixing and not self.pairs)

    @property
    def epoch_size(self):
        """Images of an epoch."""
        return self.phase.steps_per_epoch * self.phase.step_size

    # --- on the host ------------------------------------------------------------------------------------------------

    def host_batches(self, chosen):
        """The batches of some steps, before they are mixed and normalized.

        Args:
            chosen: `tf.data.Dataset` of steps, int64 scalars. A split that is read as a stream makes all steps of the
                range instead.

        Returns:
            `tf.data.Dataset` of `(step int64, intact bool, images, labels)`. `intact` is false if an example replaces
            a broken one. Images and labels have the smallest dtypes that lose no information.
        """
        examples = self._indexed(chosen) if self.split.fetch is not None else self._streamed()
        batches = examples.batch(len(self.rows.made), drop_remainder=True)
        if not self.pairs:
            return batches.map(lambda steps, own: (steps[0], tf.reduce_all(own[3]), own[1], own[2]))
        mixtures = batches.map(self._mix_pairs, PREFETCH, deterministic=True).unbatch()
        augmented = parallel_map(mixtures, self._augment_mixture, self.data)
        return augmented.batch(len(self.rows.made), drop_remainder=True).map(
            lambda steps, intact, images, labels: (steps[0], tf.reduce_all(intact), images, labels))

    @property
    def _orders(self):
        """Seeds of the orders in which the data are read, with a second one for partners."""
        return (self.seed, self.seed + PARTNER_SEED) if self.pairs else (self.seed,)

    @property
    def _first_position(self):
        """Position of the first image. Positions count the images of all epochs as if all had this batch size."""
        return self.epochs.start * self.epoch_size

    def _indexed(self, chosen):
        """(step, example of each order) of the chosen steps, read by index."""
        rows = self.rows  # here, because an error inside a graph function is wrapped by TensorFlow's

        def positions(step):
            first = self._first_position + (step - self.start) * self.batch_size
            if rows.whole:
                return tf.data.Dataset.range(first, first + self.batch_size)
            return tf.data.Dataset.from_tensor_slices(first + tf.constant(rows.made))

        index_at = order_of(self.split, self.data.sampling)

        def examples_at(position):
            return self._step_of(position), *(self._example_at(index_at, order, position) for order in self._orders)

        return parallel_map(chosen.flat_map(positions), examples_at, self.data)

    def _streamed(self):
        """(step, example of each order) of all steps, read as a stream."""

        def scanned(order):
            def one_epoch(epoch):
                repeats = self.augment.repeats
                stream = self.split.scan(epoch, tf.constant(order, tf.int64)).take(self.epoch_size // repeats)
                if repeats > 1:
                    copies = lambda index, *contents: tf.data.Dataset.range(repeats).map(  # noqa: E731
                        lambda copy: (index + copy * COPY_STRIDE, *contents))
                    stream = stream.flat_map(copies)
                if not self.rows.whole:  # the whole stream is read, but other rows are not decoded
                    stream = stream.enumerate().filter(lambda i, _: self._is_made(i)).map(lambda _, example: example)
                return stream.map(lambda *contents: (tf.constant(order, tf.int64), epoch, *contents))

            epochs = tf.data.Dataset.range(self.epochs.start, self.epochs.stop)
            return parallel_map(epochs.flat_map(one_epoch), self._example, self.data)

        positions = tf.data.Dataset.range(self._first_position, self.epochs.stop * self.epoch_size)
        positions = positions if self.rows.whole else positions.filter(self._is_made)
        return tf.data.Dataset.zip((positions.map(self._step_of), *map(scanned, self._orders)))

    def _is_made(self, position):
        return tf.reduce_any(position % self.batch_size == tf.constant(self.rows.made))

    def _step_of(self, position):
        return self.start + (position - self._first_position) // self.batch_size

    def _example_at(self, index_at, order, position):
        epoch = position // self.epoch_size
        place, copy = copy_of(position % self.epoch_size, self.augment.repeats)
        index, passed = index_at(place, order, epoch)
        number = index + (copy + passed * self.augment.repeats) * COPY_STRIDE
        return self._example(order, epoch, number, *self.split.fetch(index))

    def _example(self, order, epoch, index, image, label, intact):
        """(seed, image, label, intact) of a cropped example, augmented unless it will be mixed first."""
        example_seed = tf.stack([order + epoch * EPOCH_STRIDE, index])
        mirrored = is_mirrored(order, index, epoch) if self.augment.flip == "alternating" else None
        image = training_image(image, self.data, self.augment, example_seed, mirrored)
        image = image if self.pairs else augment_randomly(image, self.data, self.augment, example_seed)
        return example_seed, image, check_label(label, self.num_classes), intact

    def _mix_pairs(self, steps, own, partner):
        seeds, images, labels, intact = own
        _, others, other_labels, others_intact = partner
        partners = tf.cast(others, tf.float32), self._one_hot(other_labels)
        return steps, intact & others_intact, seeds, *self._mix(steps[0], images, self._one_hot(labels), partners)

    def _augment_mixture(self, step, intact, example_seed, image, label):
        return step, intact, augment_randomly(image, self.data, self.augment, example_seed), label

    # --- before the device ------------------------------------------------------------------------------------------

    def finish(self, step, _, images, labels):
        """Turns a batch of `host_batches` into (images, labels) as `training_batches` returns them."""
        labels = labels if self.pairs else self._one_hot(labels)
        if self.mixing and not self.pairs:
            partners = None
            if not self.rows.whole:
                own, partner = self.rows.places
                partners = tf.cast(tf.gather(images, partner), tf.float32), tf.gather(labels, partner)
                images, labels = tf.gather(images, own), tf.gather(labels, own)
            images, labels = self._mix(step, images, labels, partners)
        return normalize(images, self.data), labels

    def _mix(self, step, images, labels, partners):
        # The step counts from the start of training, so that a resumed run mixes like an uninterrupted one.
        seed = tf.stack([self.seed + 1, step])
        rows = {} if self.rows.whole else {"rows": self.rows.own, "batch_size": self.batch_size}
        return mix(tf.cast(images, tf.float32), labels, self.augment, seed, partners, **rows)

    def _one_hot(self, labels):
        return as_targets(labels, self.num_classes)


def as_targets(labels, num_classes):
    """Labels of a batch as float32 `(batch, classes)`: integers as one-hot, several labels an image as they are."""
    return tf.one_hot(labels, num_classes) if labels.shape.rank == 1 else tf.cast(labels, tf.float32)


def check_label(label, num_classes):
    """Returns the label. Fails with "... is not in [0, classes)" if it is not one of the model's classes."""
    if label.shape.rank == 1:
        return tf.ensure_shape(label, (num_classes,))
    return tf.gather(tf.range(num_classes), label)  # a stateless check: an assertion would make the map sequential


def parallel_map(dataset, function, data):
    """A deterministic `map` with `data.workers` parallel calls."""
    return dataset.map(function, num_parallel_calls=data.workers or PARALLEL_CALLS, deterministic=True)
