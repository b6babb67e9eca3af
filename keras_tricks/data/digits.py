"""The default data: scikit-learn's 1,797 real images of hand-written digits, 8x8 pixels, nothing to download."""

import numpy as np
import tensorflow as tf

from keras_tricks.data.minival import split_off
from keras_tricks.data.source import Source, Split


def digits(minival=0.0):
    """Two thirds for training, one third (599 images, every third one) held out; `minival` as for `open_source`."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.repeat((raw.images * (255 / 16)).round().astype("uint8")[..., None], 3, axis=-1)
    labels = raw.target.astype("int32")
    held_out = np.arange(len(labels)) % 3 == 2
    train, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if minival:
        train, validation = (train[part] for part in split_off(train, minival))
    return Source(
        name="digits",
        class_names=tuple(str(d) for d in range(10)),
        train=array_split(images[train], labels[train]),
        validation=array_split(images[validation], labels[validation]),
    )


def array_split(images, labels):
    """A split over arrays in memory: uint8 `(n, height, width, 3)` and int32 `(n,)`."""
    images, labels = tf.constant(images, "uint8"), tf.constant(labels, "int32")

    def fetch(index):
        return tf.gather(images, index), tf.gather(labels, index), tf.constant(True)

    return Split(num_examples=len(labels), fetch=fetch)
