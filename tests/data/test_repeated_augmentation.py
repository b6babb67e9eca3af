"""Repeated augmentation: copies of an image in one batch, from its step alone, and batches that it does not divide."""

import numpy as np
import pytest
import tensorflow as tf

from keras_tricks.data import batch_indices, copy_of, training_batches
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.sources.source import Split
from keras_tricks.recipe import Augment, Data, Recipe
from keras_tricks.run.build import plan_of_recipe
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

COUNT = 30
DATA = Data(image_size=8, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3, workers=1)
IMAGES = np.arange(COUNT, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 3), "uint8")
PLAIN = Augment(crop="none", flip=False, repeats=3)


def split(stream=False):
    indexed = array_split(IMAGES, np.arange(COUNT) % 3)
    if not stream:
        return indexed
    return Split(num_examples=COUNT, scan=lambda epoch, seed: tf.data.Dataset.range(COUNT).map(
        lambda i: (i, *indexed.fetch(i))))


def batches(augment=PLAIN, epochs=2, stream=False, **options):
    plan = batch_size_plan(0.1, 12, 2, COUNT, mode="decay")
    found = training_batches(split(stream), DATA, augment, 3, plan, 7, range(epochs), **options)
    return [images for images, _ in found.as_numpy_iterator()]


@pytest.mark.parametrize("stream", [False, True], ids=["by index", "stream"])
def test_a_batch_has_all_copies_of_each_image(stream):
    found = batches(stream=stream)
    assert len(found) == 2 * (COUNT // 12)  # as many batches as without copies
    for images in found:
        values, counts = np.unique(images[:, 0, 0, 0], return_counts=True)
        assert len(values) == 4 and set(counts) == {3}
        np.testing.assert_array_equal(images[0], images[2])
    first_epoch = np.concatenate([images[::3, 0, 0, 0] for images in found[:2]])
    assert len(set(first_epoch)) == 8  # no image is in two batches of an epoch


@pytest.mark.parametrize("stream", [False, True], ids=["by index", "stream"])
def test_the_copies_are_augmented_differently_and_the_first_as_without_copies(stream):
    erased = PLAIN.model_copy(update={"random_erasing": 1.0, "random_erasing_mode": "pixel"})
    images = batches(erased, stream=stream)[0]
    assert len({image.tobytes() for image in images}) == 12
    single = batches(erased.model_copy(update={"repeats": 1}), stream=stream)[0]
    np.testing.assert_array_equal(images[::3], single[:4])


def test_a_step_is_made_without_those_before_it():
    for one, two in zip(batches(first_step=1), batches()[1:], strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_indices_of_a_batch():
    plan = batch_size_plan(0.1, 12, 2, COUNT, mode="decay")
    found = batch_indices(split(), plan, 7, 1, 1, repeats=3)
    np.testing.assert_array_equal(batches()[3][:, 0, 0, 0], found)
    assert copy_of(7, 3) == (2, 1)


def test_a_batch_that_it_does_not_divide():
    with pytest.raises(UserError, match="`augment.repeats` must divide the batch of 12 images.*Received: 5"):
        batches(PLAIN.model_copy(update={"repeats": 5}))
    recipe = Recipe(augment={"repeats": 3}, schedule={"batch_size": 16, "epochs": 1})
    with pytest.raises(UserError, match="batch of 16 images"):
        plan_of_recipe(recipe, 64, 1)
