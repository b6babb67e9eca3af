"""TrivialAugment against torchvision, on crops of photographs."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow as tf
from support.golden import AUGMENTATIONS, golden_crops

from keras_tricks.data import trivial_augment
from keras_tricks.data.augment.trivial_augment import BINS, operations

CROPS, CASES = golden_crops(), AUGMENTATIONS["trivial"]
IMAGE = tf.constant(CROPS[0])
OPERATIONS = operations()


def ours(op):
    """torchvision's "ShearX" -> "shear_x"; "AutoContrast" -> "autocontrast"."""
    name = re.sub(r"(?<=[a-z])([XY])$", r"_\1", op).lower()
    return OPERATIONS[name]


@pytest.mark.parametrize("op", dict.fromkeys(case["op"] for case in CASES))
def test_each_operation_gives_torchvisions_bytes(op):
    function, arguments, signed = ours(op)
    apply = tf.function(function)
    for case in [c for c in CASES if c["op"] == op]:
        image = apply(tf.constant(CROPS[case["crop"]]), tf.constant(arguments[case["bin"]] * case["sign"], tf.float64))
        assert hashlib.sha256(image.numpy().tobytes()).hexdigest() == case["sha256"], case
    assert signed == any(c["sign"] < 0 for c in CASES if c["op"] == op)


def test_the_space_is_torchvisions():
    assert len(OPERATIONS) == len({c["op"] for c in CASES}) == 14
    for op, values in AUGMENTATIONS["trivial_arguments"].items():
        values = np.trunc(values) if op.startswith("Translate") else values
        np.testing.assert_array_equal(ours(op)[1], np.array(values, "float32"), op)


def test_the_result_is_a_function_of_the_seed_and_every_outcome_is_drawn():
    once, again = ([trivial_augment(IMAGE, (3, i)).numpy() for i in range(60)] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert len({image.tobytes() for image in once}) > 30
    draws = np.stack([tf.random.stateless_uniform([3], (3, i)) for i in range(2000)])
    for column, count in ((0, 14), (1, BINS), (2, 2)):
        counts = np.bincount((draws[:, column] * count).astype(int), minlength=count)
        assert ((counts - 2000 / count) ** 2 / (2000 / count)).sum() < 2 * count + 10


def test_in_a_graph_of_unknown_size():
    graph = tf.function(trivial_augment, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8),
                                                          tf.TensorSpec((2,), tf.int64)])
    for i in range(12):
        np.testing.assert_array_equal(graph(IMAGE, tf.constant([3, i], tf.int64)), trivial_augment(IMAGE, (3, i)))
