"""The "increasing" RandAugment against timm, on crops of photographs."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow as tf
from support.golden import AUGMENTATIONS, golden_crops

from keras_tricks.data import rand_augment_increasing
from keras_tricks.data.augment.rand_augment_increasing import operations

CROPS, CASES = golden_crops(), AUGMENTATIONS["increasing"]
IMAGE = tf.constant(CROPS[0])
OPERATIONS = operations(tuple(AUGMENTATIONS["fill"]))


def ours(op):
    """timm's "TranslateXRel" -> "translate_x"; "PosterizeIncreasing" -> "posterize"."""
    name = re.sub(r"(Increasing|Rel)$", "", op)
    return {"AutoContrast": "autocontrast"}.get(name) or re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


@pytest.mark.parametrize("op", dict.fromkeys(case["op"] for case in CASES))
def test_each_operation_gives_timms_bytes(op):
    apply = tf.function(OPERATIONS[ours(op)])
    for case in [c for c in CASES if c["op"] == op]:
        level, sign = (tf.constant(case[key], tf.float64) for key in ("level", "sign"))
        image = apply(tf.constant(CROPS[case["crop"]]), level, sign)
        assert hashlib.sha256(image.numpy().tobytes()).hexdigest() == case["sha256"], case


def test_the_operations_are_timms_in_order():
    assert list(OPERATIONS) == [ours(op) for op in dict.fromkeys(case["op"] for case in CASES)]


def test_the_result_is_a_function_of_the_seed():
    once, again = ([rand_augment_increasing(IMAGE, (3, i)).numpy() for i in range(30)] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    changed = np.mean([(image != IMAGE.numpy()).any() for image in once])
    assert 0.4 < changed < 0.95  # each of two layers applies with probability 0.5


def test_noise_varies_the_strength_and_probability_0_changes_nothing():
    plain, noisy = (len({rand_augment_increasing(IMAGE, (3, i), 1, 7.0, std, 1.0).numpy().tobytes()
                         for i in range(60)}) for std in (0.0, 2.0))
    assert plain < noisy
    np.testing.assert_array_equal(rand_augment_increasing(IMAGE, (3, 1), 2, 7.0, 0.5, 0.0), IMAGE)
