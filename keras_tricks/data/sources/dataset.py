"""A `tf.data.Dataset` of single examples as a split: kept in memory and read by number, or read as a stream."""

import hashlib
import logging

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.arrays import as_label_sets
from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.source import Split
from keras_tricks.data.sources.tfds import EPOCH_STRIDE, SHUFFLE_BUFFER
from keras_tricks.utils.errors import UserError, one_line

IN_MEMORY = 2**30  # bytes
COMPARED = 16  # examples that are read twice
WRONG_LABEL = np.uint8(255)  # in place of labels that are neither 0 nor 1
FORM = "Expected single examples (image, label): an encoded file or uint8 (height, width, 3), and an integer"

log = logging.getLogger("absl")


def dataset_split(dataset: tf.data.Dataset, where: str) -> tuple[Split, int]:
    """The `Split` of a data set, and the number of its classes. Reads it once.

    Up to 1 GiB of images is kept in memory and read by number. A larger data set is a stream, shuffled in a buffer of
    10,000 examples, and so is one whose first examples differ when they are read again.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)`, or of dicts with the keys `image` and `label`. An image is a
            scalar string, the content of a JPEG or PNG file, or uint8 `(height, width, channels)`. One channel is
            repeated three times. A label is an integer or, if an image has several, a vector `(classes,)` of 0 and 1.
        where: names it in messages, such as `"data[0]"`.

    Raises:
        UserError: it is batched, infinite, empty or of unknown length, has other elements, or fails.
    """
    image_spec, label_spec = _specs(dataset.element_spec, where)
    several = label_spec.shape.rank == 1
    count = _count(dataset, where)
    options = tf.data.Options()
    options.deterministic = True
    dataset = dataset.map(lambda *example: _example(example, image_spec, label_spec)).with_options(options)
    try:
        images, labels, first = _read(dataset)
        is_stable = _equal(first, list(dataset.take(len(first)).as_numpy_iterator()))
    except tf.errors.OpError as error:
        raise UserError(f"{where} cannot be read: {one_line(error)}") from error
    if len(labels) != count:
        raise UserError(f"{where} has {len(labels):,} examples, and its length is {count:,}.")
    if several:
        labels = as_label_sets(labels, where)
    elif labels.min() < 0:
        raise UserError(f"{where}: labels must be 0 or more. Received: {labels.min()}.")
    counts = labels.sum(axis=0, dtype="int64") if several else np.bincount(labels)
    digest = hashlib.sha256(f"{image_spec} {count} {counts.tolist()}".encode())
    if is_stable:
        for image, label in zip(images, labels, strict=True) if images is not None else first:
            digest.update(np.asarray(image).tobytes() + str(label.tolist() if several else label).encode())
    else:
        log.warning("%s differs at each pass, so runs cannot be repeated or resumed exactly: leave out shuffle and "
                    "random operations, which recipes have", where)
    if is_stable and images is not None:
        labels = labels.astype("uint8" if several else "int32")
        return _split_in_memory(images, labels, where, digest.hexdigest()), len(counts)
    log.warning("%s is read as a stream", where)
    split = Split(count, scan=_scan(dataset, count), identity=digest.hexdigest(), multi_label=several,
                  channels=channels_of_spec(image_spec))
    return split, len(counts)


def _read(dataset):
    """(the images, or `None` if they need more than `IN_MEMORY` bytes; the labels; the first examples)."""
    images, labels, first, size = [], [], [], 0
    for image, label in dataset.as_numpy_iterator():
        labels.append(label)
        if len(first) < COMPARED:
            first.append((image, label))
        if images is not None:
            size += len(image) if isinstance(image, bytes) else image.nbytes
            images.append(image)
            images = images if size <= IN_MEMORY else None
    return images, np.array(labels, "int64"), first


def _equal(some, others):
    return all(np.array_equal(a, b) and np.array_equal(x, y) for (a, x), (b, y) in zip(some, others, strict=True))


def _split_in_memory(images, labels, where, identity):
    encoded = isinstance(images[0], bytes)
    if not encoded and len({image.shape for image in images}) == 1:
        return array_split(np.stack(images), labels, identity)
    names = [f"{where}, example {number}" for number in range(len(labels))]
    channels = 3 if encoded else images[0].shape[-1]
    return read_split(images.__getitem__, names, BadImages(0), labels, encoded, identity, channels=channels)


def _specs(spec, where):
    """The specifications of image and label."""
    if isinstance(spec, dict) and {"image", "label"} <= set(spec):
        spec = spec["image"], spec["label"]
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)):
        raise UserError(f"{where} has the elements {str(spec)[:200]}. {FORM}.")
    image, label = spec
    if image.shape.rank is not None and (image.shape.rank == 4 or (image.dtype == tf.string and image.shape.rank == 1)):
        raise UserError(f"{where} is batched: its images have the shape {image.shape}. Give single examples: "
                        "dataset.unbatch().apply(tf.data.experimental.assert_cardinality(n)).")
    is_file = image.dtype == tf.string and image.shape.rank == 0
    is_array = image.dtype == tf.uint8 and image.shape.rank == 3
    if not (is_file or is_array):
        raise UserError(f"{where} has images of {image.dtype.name} {image.shape}. {FORM}.")
    if not (label.dtype.is_integer and label.shape.rank == 0 or _is_label_set(label)):
        raise UserError(f"{where} has labels of {label.dtype.name} {label.shape}. {FORM}.")
    return image, label


def _is_label_set(label):
    """Whether a label is a vector of known length: several labels an image."""
    is_number = label.dtype.is_integer or label.dtype.is_floating or label.dtype.is_bool
    return is_number and label.shape.rank == 1 and (label.shape[0] or 0) > 1


def _count(dataset, where):
    count = int(dataset.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise UserError(f"{where} has no end. Give the examples of one epoch: leave out repeat().")
    if count == tf.data.UNKNOWN_CARDINALITY:
        raise UserError(f"{where} has an unknown length. Set it: "
                        "dataset.apply(tf.data.experimental.assert_cardinality(n)).")
    if not count:
        raise UserError(f"{where} has no examples.")
    return count


def channels_of_spec(image_spec):
    """Channels of images as `_example` returns them: 3 of encoded ones, of grey ones, and where they are unknown."""
    known = image_spec.shape[-1] if image_spec.shape.rank == 3 else None
    return 3 if known in (None, 1) else known


def _example(example, image_spec, label_spec):
    """(image, label) of an element; the label int32, or a vector of several as uint8."""
    image, label = (example[0]["image"], example[0]["label"]) if isinstance(example[0], dict) else example
    if image_spec.dtype == tf.uint8 and image_spec.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    if image_spec.dtype == tf.uint8:
        image = tf.ensure_shape(image, (None, None, channels_of_spec(image_spec)))
    if label_spec.shape.rank == 0:
        return image, tf.cast(label, tf.int32)
    is_binary = tf.reduce_all((label == tf.cast(0, label.dtype)) | (label == tf.cast(1, label.dtype)))
    return image, tf.cond(is_binary, lambda: tf.cast(label, tf.uint8), lambda: tf.fill(tf.shape(label), WRONG_LABEL))


def _scan(dataset, count):
    """The function `scan` of a `Split`."""

    def scan(epoch, seed):
        examples = dataset.enumerate()
        if seed is not None:
            tf.compat.v1.set_random_seed(1)  # as in `tfds`: the order depends on `seed` only
            examples = examples.shuffle(min(SHUFFLE_BUFFER, count), seed=seed + epoch * EPOCH_STRIDE,
                                        reshuffle_each_iteration=False)
        return examples.map(lambda index, example: (index, *example, tf.constant(True)))

    return scan
