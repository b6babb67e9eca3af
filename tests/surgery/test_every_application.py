"""Every walk over every family of `keras.applications`, inside two other models: it finds what a hand count says.

The hand counts come from the papers' tables of blocks and from the code that builds the models, in the comments below.
"""

import functools
import types
import warnings

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.analysis import cost, signal_propagation
from keras_tricks.export import fold, without_classifier
from keras_tricks.models.feature_pyramid import stage_outputs
from keras_tricks.optimizers import no_decay
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import NORMALIZATIONS, every_layer

CLASSES = 10
# Image size; additions; last norms of residual branches; normalization layers; batch norms that follow no convolution
# of `fold`'s; features before the classifier (None: it is a convolution). What is added up is said where it is no
# plain sum of the paper's table.
COUNTS = {
    "ConvNeXtTiny": (32, 18, 0, 1 + 18 + 3 + 1, 0, 768),  # 3 + 3 + 9 + 3 blocks; layer norms, one each
    "DenseNet121": (32, 0, 0, 1 + 2 * 58 + 3 + 1, 58 + 3 + 1, 1024),  # the first of each layer's two follows a concat
    "EfficientNetB0": (32, 9, 9, 1 + 2 + 15 * 3 + 1, 0, 1280),  # repeats 1 2 2 3 3 4 1, less one each
    "EfficientNetV2B0": (32, 15, 15, 1 + 1 + 4 * 2 + 16 * 3 + 1, 0, 1280),  # repeats 1 2 2 3 5 8
    "InceptionResNetV2": (75, 0, 0, 204, 0, 1536),  # its sums are a layer of its own, its branches end in convolutions
    "InceptionV3": (75, 0, 0, 94, 0, 2048),
    "MobileNet": (32, 0, 0, 1 + 13 * 2, 0, None),
    "MobileNetV2": (32, 10, 10, 1 + 2 + 16 * 3 + 1, 0, 1280),
    "MobileNetV3Small": (32, 6, 6, 1 + 2 + 10 * 3 + 1, 0, None),
    # 12 normal and 4 reduction cells of 5 sums; sep(h) + h or + pool(h) once in each, and twice more in the first,
    # whose two inputs are one; 5 pairs of separable convolutions, norm of h, norm of p except in the first, stem
    "NASNetMobile": (32, 16 * 5, 16 + 2, 1 + 16 * 11 + 15, 16 * 10 + 4, 1056),
    "ResNet50": (32, 16, 16, 53, 0, 2048),
    "ResNet50V2": (32, 16, 0, 16 * 3 + 1, 16 + 1, 2048),  # pre-activation: branches end in convolutions
    "VGG16": (32, 0, 0, 0, 0, 4096),
    "Xception": (71, 12, 12, 2 + 9 + 24 + 5, 6 + 24 + 4, 2048),  # norms behind separable convolutions stay
}
SLOW = {"ConvNeXtTiny", "DenseNet121", "EfficientNetV2B0", "InceptionResNetV2", "InceptionV3", "MobileNetV3Small",
        "NASNetMobile", "ResNet50V2", "VGG16", "Xception"}
families = pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ())
                                           for n in COUNTS])


def test_every_family_is_here():
    """A model of each public module of `keras.applications`; VGG19 is VGG16 with three more convolutions."""
    models = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    modules = {name: module for name, module in models.items() if isinstance(module, types.ModuleType)}
    missing = [name for name, module in modules.items() if any(n[0].isupper() for n in dir(module))
               and not COUNTS.keys() & set(dir(module))]
    assert len(modules) > 12 and missing == ["vgg19"]


@functools.cache
def application(name):
    size = COUNTS[name][0]
    keras.utils.set_random_seed(0)
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=CLASSES)


@functools.cache
def nested(name):
    """The application in a functional model in a `Sequential`, with a layer before it and one behind."""
    inner = application(name)
    pixels = keras.Input(inner.input_shape[1:])
    middle = keras.Model(pixels, inner(keras.layers.Rescaling(1.0, name="scale")(pixels)), name="middle")
    return keras.Sequential([keras.Input(inner.input_shape[1:]), middle, keras.layers.Identity(name="end")])


def flat_layers(name):
    """The layers of an application; ConvNeXt holds five `Sequential`s."""
    layers = [layer.layers if isinstance(layer, keras.Sequential) else [layer] for layer in application(name).layers]
    return [layer for group in layers for layer in group if not isinstance(layer, keras.layers.InputLayer)]


def images(name, count=2):
    return np.random.default_rng(0).normal(size=(count, *application(name).input_shape[1:])).astype("float32")


@families
def test_zero_gamma(name):
    model, before = nested(name), application(name).get_weights()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        changed = kt.surgery.zero_gamma(model)
    assert len(changed) == len(set(changed)) == COUNTS[name][2]
    assert bool(changed) != any("changed nothing" in str(w.message) for w in said)
    gammas = {layer.name: keras.ops.convert_to_numpy(layer.gamma) for layer in flat_layers(name)
              if isinstance(layer, keras.layers.BatchNormalization) and layer.scale}
    assert {n for n, gamma in gammas.items() if not gamma.any()} == set(changed)
    application(name).set_weights(before)


@families
def test_signal_propagation(name):
    if COUNTS[name][1] == 0:
        with pytest.raises(UserError, match="has no residual addition"):
            signal_propagation(nested(name))
        return
    signal = signal_propagation(nested(name), images(name), open_branches=True)
    assert len(signal.blocks) == COUNTS[name][1] and signal.normalizations == COUNTS[name][3]
    assert all(np.isfinite(block.variance) for block in signal.blocks)


@families
def test_freeze(name):
    model, inner = nested(name), application(name)
    whole = len(model.trainable_variables)
    try:
        kt.surgery.freeze(model, [], norms=True)
        frozen = [layer for layer in flat_layers(name) if not layer.trainable]
        assert len(frozen) == COUNTS[name][3] and all(isinstance(layer, NORMALIZATIONS) for layer in frozen)
        assert len(model.trainable_variables) == whole - sum(
            w.name in ("gamma", "beta") for layer in frozen for w in layer.weights)
        last = [layer for layer in flat_layers(name) if layer.weights][-1]
        kt.surgery.freeze(model, [last.name])  # two models down
        assert not last.trainable
        with pytest.raises(UserError, match="leaves nothing to train"):
            kt.surgery.freeze(model, ["middle"])
    finally:
        for layer in every_layer(model):
            layer.trainable = True
        inner.trainable = True


@families
def test_no_decay(name):
    vectors = [w for layer in flat_layers(name) for w in layer.trainable_weights if len(w.shape) <= 1]
    assert {id(v) for v in no_decay(nested(name), verbose=False)} == {id(v) for v in vectors}
    assert len(no_decay(nested(name), verbose=False)) == len(vectors)


def multiply_adds(layer):
    """By hand: numbers of an output map, times the numbers of the kernel behind each."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        pixels = layer.output.shape[1] * layer.output.shape[2]
        depthwise, pointwise = np.prod(layer.kernel_size), layer.filters
        return pixels * layer.input.shape[-1] * (depthwise + pointwise)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return int(np.prod(layer.output.shape[1:]) * np.prod(layer.kernel_size))
    if isinstance(layer, keras.layers.Conv2D):
        return int(np.prod(layer.output.shape[1:]) * np.prod(layer.kernel_size) * layer.input.shape[-1] // layer.groups)
    return int(np.prod(layer.output.shape[1:]) * layer.input.shape[-1])


@families
def test_cost(name):
    spent = cost(nested(name))
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Dense)
    assert spent.macs == sum(multiply_adds(layer) for layer in flat_layers(name) if isinstance(layer, kinds))
    assert spent.parameters == sum(int(np.prod(w.shape)) for w in application(name).trainable_weights)
    assert spent.parameters == sum(row.parameters for row in spent.layers)
    assert all(row.name.startswith("middle/") or row.name == "end" for row in spent.layers)


@families
def test_fold(name):
    model, before = nested(name), application(name).get_weights()
    rng = np.random.default_rng(1)
    for v in application(name).variables:  # as after training
        if v.name in ("moving_variance", "gamma"):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        elif v.name in ("moving_mean", "beta", "bias"):
            v.assign(rng.uniform(-0.2, 0.2, v.shape))
    folded = fold(model)
    left = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(left) == COUNTS[name][4]
    expected, found = (np.asarray(m(images(name), training=False)) for m in (model, folded))
    np.testing.assert_allclose(expected, found, atol=2e-4)
    application(name).set_weights(before)


@families
def test_without_classifier(name):
    features = COUNTS[name][5]
    if features is None:
        with pytest.raises(UserError, match="no classifier to remove"):
            without_classifier(nested(name))
        return
    model = without_classifier(nested(name))
    assert model.output_shape == (None, features)
    vectors = np.asarray(model(images(name), training=False))
    kernel, bias = [layer for layer in flat_layers(name) if isinstance(layer, keras.layers.Dense)][-1].get_weights()
    logits = vectors @ kernel + bias
    expected = np.asarray(nested(name)(images(name), training=False))
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), expected, atol=1e-4)


STRIDES = {  # a map's height at 256 pixels times its stride is 256, or a little less after unpadded convolutions
    "InceptionResNetV2": {2, 4, 8, 16, 32}, "InceptionV3": {2, 4, 8, 16, 32}, "MobileNet": {2, 4, 8, 16, 32},
    "MobileNetV2": {2, 4, 8, 16, 32}, "MobileNetV3Small": {2, 4, 8, 16, 32}, "EfficientNetB0": {2, 4, 8, 16, 32},
    "EfficientNetV2B0": {2, 4, 8, 16, 32}, "DenseNet121": {2, 4, 8, 16, 32}, "ResNet50": {2, 4, 8, 16, 32},
    "ResNet50V2": {4, 8, 16, 32}, "ConvNeXtTiny": {4, 8, 16, 32}, "Xception": {2, 4, 8, 16, 32},
    "VGG16": {1, 2, 4, 8, 16},  # it ends in a pooling
    "NASNetMobile": {32},  # every cell reads the two before it
}


@families
def test_feature_maps(name):
    inner = getattr(keras.applications, name)(weights=None, input_shape=(256, 256, 3), include_top=False)
    pixels = keras.Input((256, 256, 3))
    for model in (inner, keras.Model(pixels, inner(pixels))):
        found = stage_outputs(model)
        assert found.keys() == STRIDES[name]
        assert all(0.75 * 256 <= stride * tensor.shape[1] <= 256 + 2 * stride for stride, tensor in found.items())


# ---- backbones of keras-hub


def backbone(name):
    models = pytest.importorskip("keras_hub").models
    shape = (32, 32, 3)
    if name == "resnet":  # three stages of two basic blocks
        return models.ResNetBackbone([64], [7], [64, 64, 64], [2, 2, 2], [1, 2, 2], "basic_block", image_shape=shape)
    if name == "densenet":  # two blocks of two layers
        return models.DenseNetBackbone([2, 2], compression_ratio=0.5, growth_rate=8, image_shape=shape)
    return models.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3], stackwise_num_repeats=[2, 2], stackwise_input_filters=[32, 16],
        stackwise_output_filters=[16, 24], stackwise_expansion_ratios=[1, 4], stackwise_strides=[1, 2],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25], stackwise_block_types=["v1", "unfused"],
        width_coefficient=1.0, depth_coefficient=1.0, image_shape=shape)


def with_head(inner):
    pixels = keras.Input((32, 32, 3))
    return keras.Model(pixels, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inner(pixels))))


@pytest.mark.parametrize("name, additions, norms, left", [
    ("resnet", 6, 1 + 6 * 2 + 2, 0),  # a projection in two of the stages
    ("densenet", 0, 1 + 4 * 2 + 1 + 1, 4 + 1 + 1),
])
def test_backbones_of_keras_hub(name, additions, norms, left):
    model = with_head(backbone(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(kt.surgery.zero_gamma(model)) == additions
    assert sum(isinstance(layer, NORMALIZATIONS) for layer in every_layer(model)) == norms
    folded = fold(model)
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers) == left
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(folded(x)), np.asarray(model(x, training=False)), atol=1e-4)
    spent = cost(model)
    assert sum(row.parameters + row.non_trainable for row in spent.layers) == model.count_params()
    assert without_classifier(model).output_shape == (None, backbone(name).output_shape[-1])
    if additions:
        assert len(signal_propagation(model, x).blocks) == additions


def test_a_backbone_whose_layers_hide_others():
    """KerasHub's EfficientNet has layers that call others in their own code: said, or refused; never overlooked."""
    model = with_head(backbone("efficientnet"))
    with pytest.warns(UserWarning, match=r"did not search inside block2a_ \(MBConvBlock\)"):
        kt.surgery.zero_gamma(model)
    with pytest.raises(UserError, match=r"cannot look inside layer '\S+/block2a_' \(MBConvBlock\)"):
        cost(model)
    kt.surgery.freeze(model, [], norms=True)
    assert not [v for v in model.trainable_variables if v.name in ("gamma", "beta")]
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(fold(model)(x)), np.asarray(model(x, training=False)), atol=1e-4)
