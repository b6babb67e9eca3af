"""Inception-ResNet-v2 against keras.applications (weight by weight) and timm 1.0.31 (size, cost and outputs)."""

import functools
import inspect
import json
import math
import pathlib

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_inception_resnet.json").read_text())
STATISTICS = 60_544


@functools.cache
def full(bn_scale):
    """The whole network at 299 pixels, logits out. Building takes seconds, so it is done once per `bn_scale`."""
    return kt.models.InceptionResNetV2(bn_scale=bn_scale, classifier_activation=None)


def tiny(**kwargs):
    return kt.models.create_model("test_inception_resnet", **{"classes": 3, "input_shape": (75, 75, 3), **kwargs})


def images(count=2, size=75, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype("float32")


@pytest.mark.parametrize("bn_scale, trainable", [
    (True, 55_843_464), pytest.param(False, 55_813_192, marks=pytest.mark.slow)])
def test_parameters_and_statistics(bn_scale, trainable):
    cost = kt.analysis.cost(full(bn_scale))
    assert (cost.parameters, cost.non_trainable) == (trainable, STATISTICS)


def test_size_and_multiply_adds_equal_timm():
    cost = kt.analysis.cost(full(True))
    assert full(True).input_shape == (None, GOLDEN["image_size"], GOLDEN["image_size"], 3)
    assert (cost.parameters, cost.non_trainable) == (GOLDEN["parameters"], GOLDEN["batch_norm_statistics"])
    assert cost.macs == GOLDEN["macs"]


@pytest.mark.slow
def test_outputs_equal_keras_applications():
    ours, reference = full(False), keras.applications.InceptionResNetV2(weights=None, classifier_activation=None)
    assert [w.shape for w in ours.weights] == [w.shape for w in reference.weights]
    numbers = np.random.default_rng(0)
    for weight in reference.weights:  # kernels are random already
        if weight.name == "moving_variance":
            weight.assign(numbers.uniform(0.5, 1.5, weight.shape))
        elif len(weight.shape) == 1:
            weight.assign(numbers.uniform(-0.2, 0.2, weight.shape))
    ours.set_weights(reference.get_weights())
    x = images(1, 299)
    expected = np.asarray(reference(x))
    assert expected.std() > 0.1
    np.testing.assert_allclose(ours(x), expected, atol=1e-4)


def test_arguments_come_in_the_order_of_keras_applications():
    theirs = list(inspect.signature(keras.applications.InceptionResNetV2).parameters)
    assert list(inspect.signature(kt.models.InceptionResNetV2).parameters)[: len(theirs)] == theirs


def test_blocks_and_scales_are_those_of_the_released_network():
    scales = {layer.name: layer.scale for layer in full(True).layers if isinstance(layer, keras.layers.Rescaling)}
    expected = {(1, j): 0.17 for j in range(1, 11)}
    expected |= {(2, j): 0.1 for j in range(1, 21)}
    expected |= {(3, j): 0.2 for j in range(1, 10)}  # the tenth is not scaled
    assert scales == {f"stage{i}_block{j}_scale": scale for (i, j), scale in expected.items()}


def test_maps_of_the_stages():
    ends = [full(True).get_layer(f"stage{i}_block{j}_out").output.shape for i, j in ((1, 10), (2, 20), (3, 10))]
    assert [tuple(end) for end in ends] == [(None, 35, 35, 320), (None, 17, 17, 1088), (None, 8, 8, 2080)]


def test_biases_and_normalization():
    norms = 0
    for layer in full(True).layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.use_bias == layer.name.endswith("_up")
        elif isinstance(layer, keras.layers.BatchNormalization):
            norms += 1
            assert isinstance(layer, kt.layers.BatchNormalization)
            assert (layer.epsilon, layer.momentum, layer.scale) == (1e-3, 0.99, True)
    assert norms == 5 + 7 + 10 * 6 + 4 + 20 * 4 + 7 + 10 * 4 + 1


@pytest.mark.parametrize("block, scale", [("stage1_block1", 0.17), ("stage2_block1", 0.1), ("stage3_block1", 0.2)])
def test_block_scales_its_residual(block, scale):
    model = tiny()
    add = model.get_layer(f"{block}_add")
    taps = keras.Model(model.input, [add.input[0], model.get_layer(f"{block}_up").output,
                                     model.get_layer(f"{block}_out").output])
    x, residual, out = (np.asarray(y) for y in taps(images()))
    assert residual.any()
    np.testing.assert_allclose(out, np.maximum(x + scale * residual, 0), rtol=1e-5, atol=1e-6)


def test_last_block_is_neither_scaled_nor_rectified():
    model = tiny()
    end = model.get_layer("stage3_block2_out")
    taps = keras.Model(model.input, [end.input[0], model.get_layer("stage3_block2_up").output, end.output])
    x, residual, out = (np.asarray(y) for y in taps(images()))
    assert out.min() < 0
    np.testing.assert_allclose(out, x + residual, rtol=1e-5, atol=1e-6)


def test_test_model_is_small():
    assert kt.models.model_info("test_inception_resnet").parameters < 50_000


def test_drop_path_rate_grows_linearly_from_zero():
    model = kt.models.create_model("test_inception_resnet", drop_path_rate=0.3)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, kt.layers.DropPath)}
    expected = {"stage2_block1": 0.1, "stage3_block1": 0.2, "stage3_block2": 0.3}
    assert rates == pytest.approx({f"{block}_drop_path": rate for block, rate in expected.items()})


@pytest.mark.parametrize("option, attribute", [("sync_bn", "synchronized"), ("bn_scale", "scale")])
def test_options_reach_every_normalization(option, attribute):
    for value in (False, True):
        model = tiny(**{option: value})
        norms = [layer for layer in model.layers if isinstance(layer, kt.layers.BatchNormalization)]
        assert len(norms) == 5 + 7 + 6 + 4 + 4 + 7 + 2 * 4 + 1
        assert all(getattr(norm, attribute) is value for norm in norms)


def test_kernels_are_glorot_uniform_and_never_shared():
    def kernels(**kwargs):
        model = kt.models.InceptionResNet((1, 1, 2), include_top=False, width=0.25, **kwargs)
        return [model.get_layer(f"stage3_block{i}_branch2_conv3").kernel.numpy() for i in (1, 2)]

    one, two = kernels()
    limit = math.sqrt(6 / (3 * (56 + 64)))
    assert one.shape == (3, 1, 56, 64) and not np.allclose(one, two)
    assert 0.99 * limit < np.abs(one).max() <= limit
    assert one.std() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    he, other = kernels(kernel_initializer=keras.initializers.HeNormal())
    assert he.std() == pytest.approx(math.sqrt(2 / (3 * 56)), rel=0.03) and not np.allclose(he, other)


def test_without_top():
    assert tiny(include_top=False).output_shape == (None, 1, 1, 48)
    assert tiny(include_top=False, pooling="avg").output_shape == (None, 48)
    assert tiny(include_top=False, input_shape=None).input_shape == (None, None, None, 3)
    features, x = tiny(include_top=False, input_shape=(107, 107, 3)), images(size=107)
    pooled = tiny(include_top=False, input_shape=(107, 107, 3), pooling="max")
    pooled.set_weights(features.get_weights())
    assert features.output_shape == (None, 2, 2, 48)
    np.testing.assert_allclose(pooled(x), np.asarray(features(x)).max(axis=(1, 2)), rtol=1e-5)


def test_with_top():
    logits = tiny(classifier_activation=None)
    probabilities = tiny()
    probabilities.set_weights(logits.get_weights())
    x = images()
    np.testing.assert_allclose(probabilities(x), keras.ops.softmax(logits(x)), rtol=1e-5)
    rates = [layer.rate for layer in tiny(dropout_rate=0.3).layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.3]


def test_input_tensor_is_built_on():
    pixels = keras.Input((75, 75, 3), name="pixels")
    model = tiny(input_tensor=keras.layers.Rescaling(0.5)(pixels), input_shape=None)
    plain = tiny()
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images()), plain(images() * 0.5), rtol=1e-5)


@pytest.mark.parametrize(
    "kwargs, message",
    [({"input_shape": (75, 74, 3)}, r"at least 75 pixels.*\(75, 74, 3\)"),
     ({"input_shape": (75, 75)}, r"`input_shape` must be \(height, width, channels\).*\(75, 75\)"),
     ({"pooling": "average", "include_top": False}, 'Did you mean "avg"'),
     ({"bn_scales": False}, 'no argument `bn_scales`. Did you mean "bn_scale"')],
    ids=str,
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(UserError, match=message):
        tiny(**kwargs)


def test_head_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = tiny()
    assert keras.backend.standardize_dtype(model(images()).dtype) == "float32"
    assert model.get_layer("head").compute_dtype == "float32"
    assert {model.get_layer(f"stage1_block1_{part}").compute_dtype for part in ("up", "scale", "add")} == {"float16"}
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


def test_weights_round_trip(tmp_path):
    options = dict(drop_path_rate=0.2, dropout_rate=0.1, bn_scale=False)
    trained = tiny(**options)
    trained(images(seed=1), training=True)  # changes the statistics
    path = tmp_path / "w.safetensors"
    safetensors_io.save(path, safetensors_io.by_path(trained.variables))
    np.testing.assert_array_equal(tiny(**options, weights=str(path))(images()), trained(images()))
