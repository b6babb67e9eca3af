"""Adaptive gradient clipping: timm's numbers, DeepMind's rule for vectors, excluded variables."""

import json
import pathlib

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.ops import clip_unitwise, unit_axes
from keras_tricks.optimizers.agc import excluded, is_depthwise

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_agc.json").read_text())


@pytest.mark.parametrize("clip_factor", GOLDEN["clip_factors"])
@pytest.mark.parametrize("tensor", GOLDEN["tensors"], ids=lambda t: t["name"])
def test_equals_timm(tensor, clip_factor):
    weight, gradient = (np.array(tensor[k], "float32") for k in ("weight", "gradient"))
    axes = unit_axes(weight.shape, depthwise="depthwise" in tensor["name"])
    clipped = keras.ops.convert_to_numpy(clip_unitwise(gradient, weight, axes, clip_factor, GOLDEN["epsilon"]))
    expected = np.array(tensor["clipped"][str(clip_factor)])
    np.testing.assert_allclose(clipped, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_a_vector_is_one_unit():
    weight, gradient = np.array([3.0, 4.0], "float32"), np.array([6.0, 8.0], "float32")
    clipped = clip_unitwise(gradient, weight, unit_axes((2,)), clip_factor=0.1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(clipped), [0.3, 0.4], rtol=1e-6)  # norm 10 -> 0.1 * 5


def test_zero_weights_still_move():
    clipped = clip_unitwise(np.ones((4, 2), "float32"), np.zeros((4, 2), "float32"), (0,), 0.01, 1e-3)
    np.testing.assert_allclose(np.linalg.norm(keras.ops.convert_to_numpy(clipped), axis=0), 1e-5, rtol=1e-5)


def name(variable):
    """Layer and variable, without the model's name that Keras may put in front."""
    return "/".join(variable.path.split("/")[-2:])


def model():
    return keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="first"), keras.layers.DepthwiseConv2D(3, name="wise"),
        keras.layers.Conv2D(6, 1, name="second"), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(5, name="hidden"), keras.layers.Dense(2, name="classes"),
    ])


@pytest.mark.parametrize("exclude, alone", [
    ("classifier", {"classes/kernel"}), ("none", set()), ("classifier_and_first", {"classes/kernel", "first/kernel"}),
    (["hidden"], {"hidden/kernel", "hidden/bias"}),
])
def test_what_is_left_alone(exclude, alone):
    variables = model().trainable_variables
    flags = excluded(variables, exclude)
    assert {name(v) for v, f in zip(variables, flags, strict=True) if f} == alone


def test_depthwise_kernels_are_found_by_shape():
    assert [name(v) for v in model().trainable_variables if is_depthwise(v)] == ["wise/kernel"]


def test_update_is_the_inner_optimizers_on_the_clipped_gradient():
    weight = keras.Variable(np.full((3, 2), 2.0, "float32"))
    optimizer = kt.optimizers.AGC(kt.optimizers.SGD(1.0, momentum=0.0, nesterov=False), 0.01, exclude="none")
    optimizer.build([weight])
    gradient = np.array([[1.0, 1e-3], [0.0, 0.0], [0.0, 0.0]], "float32")
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    norm = 0.01 * np.sqrt(12)
    expected = 2.0 - np.array([[norm, 1e-3], [0, 0], [0, 0]])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), expected, rtol=1e-6)


@pytest.mark.parametrize("arguments, word", [
    ({"clip_factor": 0}, "clip_factor"), ({"eps": -1.0}, "eps"), ({"exclude": "head"}, "exclude"),
])
def test_wrong_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        kt.optimizers.AGC(kt.optimizers.SGD(), **arguments)


def test_twice_is_refused():
    with pytest.raises(ValueError, match=r"AGC\(AGC"):
        kt.optimizers.AGC(kt.optimizers.AGC(kt.optimizers.SGD()))


def test_loss_scale_inside_is_refused():
    with pytest.raises(ValueError, match="outermost"):
        kt.optimizers.AGC(kt.optimizers.LossScale(kt.optimizers.SGD()))
