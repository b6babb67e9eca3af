"""Alternating flip: each image is mirrored in every second epoch, half of them in each."""

import numpy as np
import pytest
import tensorflow as tf

from keras_tricks.data import is_mirrored, training_batches
from keras_tricks.data.augment.preprocessing import check_policies
from keras_tricks.data.sources.digits import array_split
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError


def coins(seed, epoch, count=400):
    return np.array([bool(is_mirrored(seed, tf.constant(i), epoch)) for i in range(count)])


def test_epochs_alternate_and_half_of_the_images_are_mirrored():
    first, second, third = (coins(3, epoch) for epoch in range(3))
    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(first, third)
    assert abs(first.mean() - 0.5) < 0.1 and (coins(4, 0) != first).any()


def test_two_epochs_show_both_sides_of_every_image():
    count = 32
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), "uint8")
    data = Data(image_size=8, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3, workers=1)
    plan = batch_size_plan(0.1, 16, 2, count, mode="decay")
    augment = Augment(crop="none", flip="alternating")
    batches = training_batches(array_split(images, np.arange(count) % 4), data, augment, 4, plan, 7)
    seen = {image.astype("uint8").tobytes() for x, _ in batches.as_numpy_iterator() for image in x}
    assert seen == {side.tobytes() for image in images for side in (image, image[:, ::-1])}


@pytest.mark.parametrize("wrong, word", [
    ({"trivial_augment": True, "rand_augment_layers": 2}, "two policies"),
    ({"rand_augment_magnitude_std": 0.5, "rand_augment_layers": 2}, "needs `augment.rand_augment_increasing=true`"),
], ids=["two policies", "noise"])
def test_settings_that_exclude_each_other(wrong, word):
    with pytest.raises(UserError, match=word):
        check_policies(Augment(**wrong))
