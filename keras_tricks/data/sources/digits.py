"""The default data set: scikit-learn's 1,797 images of hand-written digits, 8x8 pixels. It needs no download."""

import functools
import hashlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.source import Source, Split


def digits(minival: float = 0.0) -> Source:
    """Opens the digits: every third image (599) is held out for validation. `minival` as for `open_source`."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.repeat((raw.images * (255 / 16)).round().astype("uint8")[..., None], 3, axis=-1)
    labels = raw.target.astype("int32")
    held_out = np.arange(len(labels)) % 3 == 2
    train, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    identity = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if minival:
        train, validation = (train[part] for part in split_off(train, minival))
    return Source(
        name="digits",
        class_names=tuple(str(d) for d in range(10)),
        train=array_split(images[train], labels[train], identity),
        validation=array_split(images[validation], labels[validation], identity),
    )


def array_split(images: np.ndarray, labels: np.ndarray, identity: str = "") -> Split:
    """A split over arrays in memory: uint8 `(n, height, width, channels)` and labels as in `Split`, as `identity` is.

    The tensors are made on first use, when the devices are set up.
    """
    several = np.ndim(labels) == 2
    known = np.asarray(labels, "uint8" if several else "int32")

    @functools.cache
    def tensors():
        with tf.init_scope(), tf.device("CPU"):
            return tf.constant(images, "uint8"), tf.constant(known)

    def fetch(index):
        images, labels = tensors()
        return tf.gather(images, index), tf.gather(labels, index), tf.constant(True)

    return Split(num_examples=len(labels), fetch=fetch, labels=known, identity=identity, multi_label=several,
                 channels=images.shape[-1])
