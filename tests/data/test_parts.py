"""Several processes divide the batches: each makes its rows and no others. Together they are the whole, to the bit."""

import dataclasses
import itertools
import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_tricks.data import evaluation_batches, training_batches
from keras_tricks.data.parts import rows_of_part
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.sources.source import Split
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

DATA = Data(image_size=8, eval_crop="whole", mean=(100.0,) * 3, std=(50.0,) * 3, workers=1)
PLAIN = Augment(crop="pad", pad=1)
CLASSES = 5
AUGMENTS = {
    "plain": {},
    "mixup": {"mixup_alpha": 0.4},
    "per sample": {"mixup_alpha": 0.4, "mixup_per": "sample"},
    "halves": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "mixup_per": "sample"},
    "either": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "mix_both": "either"},
    "copies": {"repeats": 3, "flip": "alternating", "trivial_augment": True, "random_erasing": 0.5},
    "mixed copies": {"repeats": 3, "mixup_alpha": 0.4, "rand_augment_layers": 1, "rand_augment_increasing": True,
                     "random_erasing": 0.5, "random_erasing_mode": "pixel"},
    "partners of their own": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "mix_first": True, "mixup_per": "sample"},
}


class Counted:
    """A split of random images that counts how often each is fetched."""

    def __init__(self, count):
        rng = np.random.default_rng(0)
        inner = array_split(rng.integers(0, 256, (count, 8, 8, 3), "uint8"), np.arange(count) % CLASSES)
        self.fetched = []

        def note(index):
            self.fetched.append(int(index))
            return np.int64(index)

        def fetch(index):
            return inner.fetch(tf.ensure_shape(tf.numpy_function(note, [index], tf.int64), ()))

        self.split = dataclasses.replace(inner, fetch=fetch)


def stream(count):
    """The same images as a stream, in file order whatever the seed."""
    inner = Counted(count).split

    def scan(epoch, seed):
        return tf.data.Dataset.range(count).map(lambda i: (i, *inner.fetch((i + epoch) % count)))

    return Split(num_examples=count, scan=scan)


def epoch(split, augment, batch, part, parts):
    plan = batch_size_plan(0.1, batch, 1, split.num_examples, mode="decay")
    dataset = training_batches(split, DATA, PLAIN.model_copy(update=augment), CLASSES, plan, 7, part=part, parts=parts)
    return [np.stack(values) for values in zip(*dataset.as_numpy_iterator(), strict=True)]


SPLITS = {"by index": lambda: Counted(40).split, "stream": lambda: stream(40)}
FAST = {("by index", 4, "halves"), ("stream", 4, "mixed copies"),
        *(("by index", 2, name) for name in AUGMENTS if name != "mixed copies")}


@pytest.mark.parametrize("kind, parts, name", [
    pytest.param(*case, marks=() if case in FAST else pytest.mark.slow)
    for case in itertools.product(SPLITS, (2, 4), AUGMENTS)])
def test_the_parts_are_the_whole(kind, parts, name):
    make, augment, batch = SPLITS[kind], AUGMENTS[name], 12
    images, labels = epoch(make(), augment, batch, 0, 1)
    pairs = "mixup_alpha" in augment and not augment.get("mix_first")
    for part in range(parts):
        rows = rows_of_part(batch, part, parts, pairs).own
        own_images, own_labels = epoch(make(), augment, batch, part, parts)
        np.testing.assert_array_equal(own_images, images[:, rows])
        np.testing.assert_array_equal(own_labels, labels[:, rows])


@pytest.mark.parametrize("augment", [AUGMENTS["plain"], AUGMENTS["halves"]], ids=["plain", "mixed"])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_each_image_is_fetched_by_one_process(augment, parts):
    fetched = []
    for part in range(parts):
        counted = Counted(50)
        epoch(counted.split, augment, 16, part, parts)
        assert len(counted.fetched) == 3 * 16 // parts
        fetched += counted.fetched
    assert len(set(fetched)) == len(fetched) == 48


def grid(*quick, counts):
    """(images, batch) of the `quick` cases, and of all others, which are slow."""
    every = [(count, batch) for count in counts for batch in (64, 299, 300)]
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.slow) for case in every]


@pytest.mark.parametrize("count, batch", grid((601, 300), counts=(599, 601)))
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_each_training_image_is_fetched_by_one_process(count, batch, parts):
    if batch % parts:
        with pytest.raises(UserError, match=f"A batch of {batch} images cannot be divided among {parts} processes"):
            epoch(Counted(count).split, {}, batch, 0, parts)
        return
    fetched = []
    for part in range(parts):
        counted = Counted(count)
        epoch(counted.split, {}, batch, part, parts)
        assert len(counted.fetched) == count // batch * batch // parts
        fetched += counted.fetched
    assert len(set(fetched)) == len(fetched) == count // batch * batch


@pytest.mark.parametrize("count, batch", grid((599, 64), (601, 299), (1, 300), counts=(599, 601, 1)))
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_each_validation_image_is_fetched_by_one_process(count, batch, parts):
    fetched, weight = [], 0
    for part in range(parts):
        counted = Counted(count)
        dataset = evaluation_batches(counted.split, DATA, CLASSES, batch, parts, part, parts)
        weight += sum(weights.sum() for *_, weights in dataset.as_numpy_iterator())
        assert len(counted.fetched) <= math.ceil(count / parts) + batch
        fetched += counted.fetched
    assert sorted(fetched) == list(range(count)) and weight == count


@hypothesis.given(share=st.integers(1, 40), parts=st.integers(1, 9), pairs=st.booleans())
def test_rows(share, parts, pairs):
    rows = [rows_of_part(share * parts, part, parts, pairs) for part in range(parts)]
    assert sorted(np.concatenate([r.own for r in rows])) == list(range(share * parts))
    for r in rows:
        assert len(r.own) == share and set(r.own) <= set(r.made)
        assert len(r.made) <= share + (2 if pairs else 0)
        if pairs:
            own, partner = r.places
            np.testing.assert_array_equal(r.made[own], r.own)
            np.testing.assert_array_equal(r.made[partner], share * parts - 1 - r.own)


def test_a_batch_that_processes_cannot_share():
    with pytest.raises(UserError, match="A batch of 10 images cannot be divided among 4 processes. Use a multiple"):
        rows_of_part(10, 0, 4)
