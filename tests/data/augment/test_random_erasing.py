"""Random erasing: timm's boxes, the values in a box, and the share of images."""

import numpy as np
import pytest
import tensorflow as tf
from support.golden import AUGMENTATIONS

from keras_tricks.data import erasing_box, random_erasing

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
IMAGE = tf.constant(np.random.default_rng(0).uniform(0, 255, (24, 40, 3)).astype("float32"))


def test_boxes_are_timms():
    found = [[int(v) for v in erasing_box(24, 40, tf.constant(case["draws"]))] for case in AUGMENTATIONS["boxes"]]
    assert found == [case["box"] for case in AUGMENTATIONS["boxes"]]


def test_no_box_fits():
    tall = tf.constant([[0.9], [1.0], [0.5], [0.5]])  # higher than an image of one row
    assert [int(v) for v in erasing_box(1, 40, tall)][2:] == [0, 0]


@pytest.mark.parametrize("mode", ["constant", "pixel"])
def test_the_normalized_box_has_the_values_of_the_mode(mode):
    boxes = []
    for i in range(40):
        image = random_erasing(IMAGE, (5, i), 1.0, mode, MEAN, STD).numpy()
        changed = (image != IMAGE.numpy()).any(-1)
        rows, columns = np.nonzero(changed)
        assert changed.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # one full rectangle
        boxes.append((image[changed] - MEAN) / STD)
        assert 0.01 < changed.mean() < 0.36
    values = np.concatenate(boxes)
    expected = 0.0 if mode == "constant" else 1.0
    assert abs(values.mean()) < 0.02 and abs(values.std() - expected) < 0.02


def test_the_probability_and_the_seed():
    once, again = ([random_erasing(IMAGE, (5, i), 0.25).numpy() for i in range(200)] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    share = np.mean([(image != IMAGE.numpy()).any() for image in once])
    assert abs(share - 0.25) < 0.1
