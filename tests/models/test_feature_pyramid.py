"""Feature maps at chosen strides."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.models.feature_pyramid import stage_outputs
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
    with pytest.raises(UserError, match=r"no feature map at stride 16\. It has: \[2, 4, 8\]"):
        kt.models.feature_pyramid("test_resnet", strides=(4, 16), input_shape=(96, 96, 3))
    with pytest.raises(UserError, match="`input_shape` must not contain None"):
        kt.models.feature_pyramid("test_resnet", input_shape=(None, None, 3))


@pytest.mark.parametrize("name, size, expected", [
    ("efficientnet_rs_b0", 224, {4: (56, 144), 8: (28, 240), 16: (14, 672), 32: (7, 1280)}),
    pytest.param("inception_resnet_v2", 224, {4: (52, 192), 8: (25, 320), 16: (12, 1088), 32: (5, 1536)},
                 marks=pytest.mark.slow),
    pytest.param("inception_resnet_v2", 299, {4: (71, 192), 8: (35, 320), 16: (17, 1088), 32: (8, 1536)},
                 marks=pytest.mark.slow),
    ("inception_v3", 299, {4: (71, 192), 8: (35, 288), 16: (17, 768), 32: (8, 2048)}),
    ("mobilenet", 224, {4: (56, 128), 8: (28, 256), 16: (14, 512), 32: (7, 1024)}),
    ("resnet18", 64, {2: (32, 64), 4: (16, 64), 8: (8, 128), 16: (4, 256), 32: (2, 512)}),
])
def test_maps_of_every_kind_of_network(name, size, expected):
    """Heights and channels as printed in the papers, or after unpadded convolutions, by hand."""
    pyramid = kt.models.feature_pyramid(name, tuple(expected), (size, size, 3))
    assert {s: (shape[1], shape[3]) for s, shape in zip(expected, pyramid.output_shape, strict=True)} == expected


@pytest.mark.parametrize("name", ["resnet20", "resnet_rs26", "nfnet_f0", "nf_resnet_cifar", "wide_resnet16_4",
                                  "skipinit_resnet50", "fixup_resnet50"])
def test_residual_families_are_read_at_the_end_of_their_stages(name):
    """Found in the graph; the names of the layers, which the families share, are the check."""
    model = kt.models.create_model(name, include_top=False, input_shape=(256, 256, 3))
    ends = {}
    for layer in model.layers:
        if match := re.fullmatch(r"stage(\d+)_block\d+_out", layer.name):
            ends[match[1]] = layer
    found = stage_outputs(model)
    for layer in ends.values():
        assert found[256 // layer.output.shape[1]] is layer.output


def test_a_model_inside_a_model_has_the_same_maps():
    inner = kt.models.create_model("test_resnet", include_top=False, input_shape=(96, 96, 3))
    pixels = keras.Input((96, 96, 3))
    outer = keras.Model(pixels, inner(keras.layers.Rescaling(2.0)(pixels)))
    x = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype("float32")
    maps = keras.Model(pixels, list(stage_outputs(outer).values()))(x)
    expected = keras.Model(inner.input, list(stage_outputs(inner).values()))(2.0 * x)
    assert [m.shape for m in maps] == [m.shape for m in expected] == [(1, 48, 48, 8), (1, 24, 24, 32), (1, 12, 12, 64)]
    for one, two in zip(maps, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_a_file_of_the_first_version_has_its_old_maps():
    """Its config named no layers: the maps were the last blocks by name."""
    config = {"name": "p", "model": "test_inception_resnet", "strides": [8, 32], "input_shape": [299, 299, 3]}
    assert kt.models.FeaturePyramid.from_config(config).output_names == ["stage1_block1_out", "stage3_block2_out"]
    new = kt.models.feature_pyramid("test_inception_resnet", (8, 32), (299, 299, 3))
    assert new.output_names == ["stage1_block1_out", "final_conv_act"]
    assert kt.models.FeaturePyramid.from_config(new.get_config()).output_names == new.output_names
