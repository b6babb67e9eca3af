"""Evaluation runs whole batches: what is padded or broken has weight 0, and no result depends on it."""

import dataclasses

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from keras_tricks.data import evaluation_batches
from keras_tricks.data.sources.digits import array_split
from keras_tricks.recipe import Data

DATA = Data(image_size=4, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3, workers=1)
CLASSES = 3


def numbered(count, broken=()):
    """A split whose image `i` has the value `i % 256`; broken ones are not intact."""
    images = np.arange(count, dtype="int64")[:, None, None, None] % 256 * np.ones((1, 4, 4, 3), "int64")
    split = array_split(images.astype("uint8"), np.arange(count) % CLASSES)
    lost = tf.constant([i in broken for i in range(count)])
    return dataclasses.replace(split, fetch=lambda i: (*split.fetch(i)[:2], ~lost[i]))


@hypothesis.settings(max_examples=12, deadline=None)
@hypothesis.given(count=st.integers(1, 23), batch=st.integers(1, 30), replicas=st.integers(1, 16),
                  broken=st.sets(st.integers(0, 22), max_size=3))
def test_every_image_once_in_whole_batches(count, batch, replicas, broken):
    batches = list(evaluation_batches(numbered(count, broken), DATA, CLASSES, batch, replicas).as_numpy_iterator())
    sizes = {len(images) for images, *_ in batches}
    assert len(sizes) == 1 and sizes.pop() % replicas == 0
    images, labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    intact = [i for i in range(count) if i not in broken]
    assert list(np.flatnonzero(weights)) == intact and set(weights) <= {0.0, 1.0}
    np.testing.assert_array_equal(images[intact, 0, 0, 0], intact)
    np.testing.assert_array_equal(labels[intact].argmax(1), np.array(intact, int) % CLASSES)
    assert len(images) - count < len(batches[0][0]), "less than a batch is padded"


def test_the_length_is_known():
    assert len(evaluation_batches(numbered(23), DATA, CLASSES, 10)) == 3
    assert len(evaluation_batches(numbered(23), DATA, CLASSES, 7, replicas=3)) == 3  # of 9
    assert len(evaluation_batches(numbered(2), DATA, CLASSES, 64, replicas=16)) == 1
