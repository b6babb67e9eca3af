"""Feature maps at chosen strides."""

import json
import pathlib

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError

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


def test_a_saved_pyramid_comes_back(tmp_path):
    model = kt.models.feature_pyramid("test_resnet", strides=(4, 8), input_shape=(64, 64, 3))
    model.save(tmp_path / "pyramid.keras")
    again = keras.saving.load_model(tmp_path / "pyramid.keras")
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    for ours, theirs in zip(model(x), again(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(again.pyramid_outputs) == ["P2", "P3"]


def test_under_the_task_models_of_keras_hub():
    hub = pytest.importorskip("keras_hub").models
    encoder = kt.models.feature_pyramid("resnet18d", input_shape=(128, 128, 3))
    x = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype("float32")
    segmenter = hub.DeepLabV3Backbone(encoder, "P5", 8, [6, 12, 18], low_level_feature_key="P2",
                                      image_shape=(128, 128, 3))
    assert segmenter(x).shape == (2, 128, 128, 256)
    segmenter = hub.DeepLabV3ImageSegmenter(segmenter, num_classes=2, activation="softmax", preprocessor=None)
    segmenter.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    before = encoder.trainable_variables[0].numpy()
    segmenter.fit(x, np.zeros((2, 128, 128, 1)), verbose=0)
    assert not np.array_equal(before, encoder.trainable_variables[0].numpy())
    detector = hub.RetinaNetBackbone(encoder, min_level=3, max_level=7, use_p5=False, image_shape=(128, 128, 3))
    assert {name: tuple(maps.shape[1:3]) for name, maps in detector(x).items()} == {
        "P3": (16, 16), "P4": (8, 8), "P5": (4, 4), "P6": (2, 2), "P7": (1, 1)}
    again = hub.RetinaNetBackbone.from_config(detector.get_config())
    assert list(again.image_encoder.pyramid_outputs) == ["P2", "P3", "P4", "P5"]


def test_errors():
    with pytest.raises(UserError, match=r"no feature map at stride 2\. It has: \[4, 8\]"):
        kt.models.feature_pyramid("test_resnet", strides=(2, 4), input_shape=(96, 96, 3))
    with pytest.raises(UserError, match="`input_shape` must be known"):
        kt.models.feature_pyramid("test_resnet", input_shape=(None, None, 3))
