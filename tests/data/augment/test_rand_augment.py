import numpy as np
import pytest
import tensorflow as tf

from keras_tricks.data import rand_augment
from keras_tricks.data.augment import image_ops
from keras_tricks.data.augment.rand_augment import operations

IMAGE = tf.constant(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype="uint8"))
DRAW = tf.constant([0.7, 0.5, 0.5])  # sign +, the middle of the image
ORDER = ["autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast", "brightness",
         "sharpness", "shear_x", "shear_y", "translate_x", "translate_y", "cutout", "solarize_add"]


def test_the_sixteen_operations_are_in_the_order_of_the_papers_code():
    assert list(operations(10.0)) == ORDER


@pytest.mark.parametrize("magnitude, expected", [
    (10.0, {"rotate": (30.0,), "posterize": (4,), "solarize": (256,), "color": (1.9,), "shear_x": (0.3,),
            "translate_y": (100.0,), "solarize_add": (110,)}),
    (5.0, {"rotate": (15.0,), "posterize": (2,), "solarize": (128,), "sharpness": (1.0,), "shear_y": (0.15,),
           "translate_x": (50.0,), "solarize_add": (55,)}),
    (15.0, {"rotate": (45.0,), "posterize": (6,), "solarize": (384,), "contrast": (2.8,), "brightness": (2.8,),
            "solarize_add": (165,)}),
], ids=str)
def test_arguments_at_a_magnitude(magnitude, expected):
    chosen = operations(magnitude)
    for name, arguments in expected.items():
        np.testing.assert_array_equal(chosen[name](IMAGE, DRAW), getattr(image_ops, name)(IMAGE, *arguments), name)


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_the_sign_is_a_coin(name):
    chosen = operations(1.5)[name]
    heads, tails = (chosen(IMAGE, tf.constant([coin, 0.0, 0.0])).numpy() for coin in (0.49, 0.51))
    assert (heads != tails).any()
    np.testing.assert_array_equal(chosen(IMAGE, tf.constant([0.1, 0.9, 0.9])), heads)


def test_cutout_is_centred_where_drawn():
    image = operations(1.0)["cutout"](IMAGE, tf.constant([0.0, 0.5, 0.25])).numpy()  # half side 4, row 12, column 5
    expected = IMAGE.numpy()
    expected[8:16, 1:9] = 128
    np.testing.assert_array_equal(image, expected)


def test_the_result_is_a_function_of_the_seed():
    once = [rand_augment(IMAGE, (0, i), 2).numpy() for i in range(12)]
    again = [rand_augment(IMAGE, (0, i), 2).numpy() for i in range(12)]
    np.testing.assert_array_equal(once, again)
    assert len({image.tobytes() for image in once}) > 6


def test_every_operation_is_drawn_equally_often():
    """With one layer the image identifies the operation. A chi-squared test on the draws of a fixed number of seeds."""
    signs = (0.2, 0.8)
    outcomes = {}
    for name, operation in operations(1.5).items():
        if name == "cutout":
            continue
        for sign in signs:
            outcomes[operation(IMAGE, tf.constant([sign, 0.0, 0.0])).numpy().tobytes()] = name
    one = tf.function(lambda i: rand_augment(IMAGE, tf.stack([tf.constant(7, tf.int64), i]), 1, 1.5))
    drawn = [outcomes.get(one(tf.constant(i, tf.int64)).numpy().tobytes(), "cutout") for i in range(800)]
    counts = np.array([drawn.count(name) for name in ORDER])
    assert ((counts - 50) ** 2 / 50).sum() < 37.7  # the 0.1 % quantile at 15 degrees of freedom


@pytest.mark.parametrize("probability, low, high", [(0.0, 1.0, 1.0), (0.5, 0.4, 0.6), (1.0, 0.0, 0.01)])
def test_probability_of_leaving_the_image_alone(probability, low, high):
    one = tf.function(lambda i: rand_augment(IMAGE, tf.stack([i, i]), 1, 9.0, probability))
    same = [np.array_equal(one(tf.constant(i, tf.int64)), IMAGE) for i in range(200)]
    assert low <= np.mean(same) <= high


def test_no_layers_change_nothing():
    np.testing.assert_array_equal(rand_augment(IMAGE, (1, 2), num_layers=0), IMAGE)


def test_only_the_chosen_operation_runs():
    """The operations of a branch are in a branch of the graph, not in its main body."""
    graph = tf.function(lambda i: rand_augment(IMAGE, tf.stack([i, i]), 1)).get_concrete_function(
        tf.TensorSpec((), tf.int64)).graph
    kinds = {op.type for op in graph.get_operations()}
    assert kinds & {"Case", "StatelessCase"} and not kinds & {"Pad", "PadV2", "BitwiseAnd", "MatMul"}
