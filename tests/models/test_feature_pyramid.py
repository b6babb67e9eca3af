"""Feature maps at chosen strides."""

import json
import pathlib

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.errors import UserError

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "timm_resnet.json"


def test_shapes_equal_timm():
    expected = json.loads(GOLDEN.read_text())["resnet50d_features"]
    model = kt.models.feature_pyramid("resnet50d", strides=(4, 8, 16, 32), kernel_initializer="zeros")
    for stride, shape in zip((4, 8, 16, 32), model.output_shape, strict=True):
        assert list(shape[1:]) == expected[str(stride)]
    assert model.output_names == ["stage1_block3_out", "stage2_block4_out", "stage3_block6_out", "stage4_block3_out"]


def test_strides_come_in_the_order_asked_for():
    model = kt.models.feature_pyramid("test_resnet", strides=(8, 4), input_shape=(96, 64, 3))
    assert [tuple(shape) for shape in model.output_shape] == [(None, 12, 8, 64), (None, 24, 16, 32)]


def test_maps_are_those_of_the_model():
    options = dict(input_shape=(96, 96, 3), include_top=False)
    whole = kt.models.create_model("test_resnet", **options)
    pyramid = kt.models.feature_pyramid("test_resnet", strides=(4, 8), input_shape=(96, 96, 3))
    pyramid.set_weights(whole.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(pyramid(x)[1], whole(x), rtol=1e-5)


def test_errors():
    with pytest.raises(UserError, match=r"no feature map at stride 2\. It has: \[4, 8\]"):
        kt.models.feature_pyramid("test_resnet", strides=(2, 4), input_shape=(96, 96, 3))
    with pytest.raises(UserError, match="`input_shape` must be known"):
        kt.models.feature_pyramid("test_resnet", input_shape=(None, None, 3))
