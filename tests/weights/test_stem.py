"""Pretrained first convolutions adapted to other channels, as timm does."""

import json

import keras
import numpy as np
import pytest
from support.golden import FOLDER

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io
from keras_tricks.weights.stem import adapt_stem
from keras_tricks.weights.timm import assign_timm
from keras_tricks.weights.timm_names import timm_name

GOLDEN = json.loads((FOLDER / "timm_stem.json").read_text())


@pytest.mark.parametrize("channels", sorted(map(int, GOLDEN["adapted"])))
def test_the_kernel_is_that_of_timm(channels):
    kernel = np.array(GOLDEN["kernel"], "float32")
    np.testing.assert_allclose(adapt_stem(kernel, channels), GOLDEN["adapted"][str(channels)], rtol=1e-6, atol=1e-7)


def network(channels, name="test_resnet"):
    keras.utils.set_random_seed(1)
    return kt.models.create_model(name, classifier_activation=None, input_shape=(32, 32, channels), stem="cifar",
                                  classes=4)


def saved(tmp_path):
    model = network(3)
    safetensors_io.save(tmp_path / "model.safetensors", safetensors_io.weights_of(model), {})
    return model, tmp_path / "model.safetensors"


def test_grey_images_have_equal_logits(tmp_path):
    model, path = saved(tmp_path)
    grey = network(1)
    safetensors_io.load(grey, path, new_head=True)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
    np.testing.assert_allclose(grey(x, training=False), model(np.repeat(x, 3, axis=-1), training=False), rtol=1e-4,
                               atol=1e-5)


def test_six_channels_of_twice_the_colours_have_equal_logits(tmp_path):
    model, path = saved(tmp_path)
    wide = network(6)
    safetensors_io.load(wide, path, new_head=True)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(wide(np.concatenate([x, x], axis=-1), training=False), model(x, training=False),
                               rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
def test_checkpoints_of_timm(channels):
    """Its names and layout, of a network of ours."""
    model, adapted = network(3), network(channels)
    variables = {v.path: v for v in model.variables if v.name != "seed_generator_state"}
    tensors = {}
    for path, variable in variables.items():
        value = keras.ops.convert_to_numpy(variable)
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value
        tensors[timm_name(path, variables)] = value
    assign_timm(adapted, tensors, new_head=True)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
    expected = model(np.repeat(x, 3, axis=-1), training=False)
    if channels == 1:
        np.testing.assert_allclose(adapted(x, training=False), expected, rtol=1e-4, atol=1e-5)
    kernel = adapt_stem(keras.ops.convert_to_numpy(model.get_layer("stem").kernel), channels)
    np.testing.assert_array_equal(adapted.get_layer("stem").kernel, kernel)


def test_a_run_is_continued_with_its_own_channels_only(tmp_path):
    _, path = saved(tmp_path)
    with pytest.raises(UserError, match=r"shape \(3, 3, 3, \d+\), the model expects \(3, 3, 1, \d+\)"):
        safetensors_io.load(network(1), path)
