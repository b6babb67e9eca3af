"""Folded models: the same outputs, plain convolutions, no layers for training only."""

import cases
import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError

APPLICATIONS = ["MobileNetV2", "ResNet50", "ResNet50V2", "EfficientNetB0", "DenseNet121", "InceptionV3"]


def used(model, seed=0):
    """The model with random weights and statistics, as after training."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        if "float" not in v.dtype:
            continue
        if v.name in ("moving_variance", "gamma") or (v.name == "gain" and v.shape):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        elif len(v.shape) < 2:
            v.assign(rng.uniform(-0.2, 0.2, v.shape))
    return model


def images(model, count=2):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype("float32")


def check_equal(model, tolerance=1e-5):
    folded = kt.export.fold(model)
    x = images(model)
    expected, found = (np.asarray(m(x, training=False)) for m in (model, folded))
    assert np.abs(expected - found).max() <= tolerance * max(np.abs(expected).max(), 1.0)
    return folded


@pytest.mark.parametrize("name, kwargs", cases.MODELS, ids=cases.names(cases.MODELS))
def test_every_family_gives_the_same_outputs(name, kwargs):
    model = used(kt.models.create_model(name, **kwargs, classifier_activation=None))
    folded = check_equal(model)
    kinds = {type(layer) for layer in folded.layers}
    assert not kinds & {kt.layers.ScaledWSConv2D, kt.layers.SkipGain, kt.layers.DropPath, keras.layers.Dropout,
                        kt.layers.DeepStem, kt.layers.AvgPoolShortcut}
    assert (folded.name, folded.input_shape, folded.output_shape) == (model.name, model.input_shape, model.output_shape)


@pytest.mark.parametrize("layout", ["dm", "timm", "timm_dm"])
def test_nfnets_are_left_with_convolutions_activations_and_gates(layout):
    model = used(kt.models.create_model("test_nfnet", layout=layout, drop_path_rate=0.2, dropout_rate=0.2))
    folded = check_equal(model)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert kinds <= {"InputLayer", "Conv2D", "GroupedConv2D", "ScaledActivation", "SqueezeExcite", "Add", "Dense",
                     "ZeroPadding2D", "AveragePooling2D", "GlobalAveragePooling2D"}
    assert len(folded.layers) < len(model.layers)


def test_batch_normalization_after_convolutions_is_gone():
    resnet = check_equal(used(kt.models.create_model("test_resnet")))
    assert not [layer for layer in resnet.layers if isinstance(layer, keras.layers.BatchNormalization)]
    # Pre-activation blocks: the norm between the two convolutions is folded, the one after the addition remains.
    wide = used(kt.models.create_model("test_wide_resnet"))
    norms = [[layer.name for layer in m.layers if isinstance(layer, keras.layers.BatchNormalization)]
             for m in (wide, check_equal(wide))]
    assert len(norms[0]) == 7 and "stage1_block1_pre2_bn" in norms[0]
    assert not [name for name in norms[1] if "pre2" in name] and "stage3_block1_pre1_bn" in norms[1]


@pytest.mark.parametrize("name", [n if n == "MobileNetV2" else pytest.param(n, marks=pytest.mark.slow)
                                  for n in APPLICATIONS])
def test_models_of_keras_applications(name):
    model = used(getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3)))
    folded = check_equal(model)
    assert len(folded.layers) < len(model.layers)


def test_float16_models_become_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = used(kt.models.create_model("test_nf_resnet"))
    finally:
        keras.config.set_dtype_policy("float32")
    folded = kt.export.fold(model)
    assert {layer.compute_dtype for layer in folded.layers} == {"float32"}
    x = images(model)
    np.testing.assert_allclose(folded(x), model(x), atol=5e-3)


def test_tensors_read_twice_are_not_folded_into():
    """A convolution whose output is also an output of the model is not changed."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(image)
    model = used(keras.Model(image, [x, keras.layers.BatchNormalization()(x)]))
    folded = kt.export.fold(model)
    for expected, found in zip(model(images_of(8)), folded(images_of(8)), strict=True):
        np.testing.assert_allclose(expected, found, atol=1e-5)


def images_of(size):
    return np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")


def test_the_folded_model_survives_a_file(tmp_path):
    folded = kt.export.fold(used(kt.models.create_model("test_nfnet")))
    folded.save(tmp_path / "folded.keras")
    again = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(again(images(folded)), folded(images(folded)))


def test_the_model_given_is_not_changed():
    model = used(kt.models.create_model("test_resnet"))
    before = [v.numpy() for v in model.variables]
    kt.export.fold(model)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, model.variables, strict=True))


def test_a_model_in_training_is_refused():
    model = kt.models.create_model("test_wide_resnet")
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(UserError, match="7 batch normalizations.*are trainable.*model.trainable = False"):
        kt.export.fold(model)
    model.trainable = False
    check_equal(model)


def test_a_layer_called_twice():
    layer = keras.layers.Dense(3, name="twice")
    start = keras.Input((3,))
    once = layer(start)
    model = used(keras.Model(start, [keras.layers.BatchNormalization()(layer(once)), once]))
    folded = kt.export.fold(model)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for expected, found in zip(model(x), folded(x), strict=True):
        np.testing.assert_allclose(expected, found, atol=1e-5)
    assert not [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_models_inside_models_are_folded_at_any_depth():
    inner = kt.models.create_model("test_resnet", classifier_activation=None)
    middle = keras.Sequential([keras.Input(inner.input_shape[1:]), inner, keras.layers.Softmax()])
    pixels = keras.Input(inner.input_shape[1:])
    model = used(keras.Model(pixels, middle(keras.layers.Rescaling(0.5)(pixels))))
    folded = check_equal(model)
    kinds = {type(layer) for layer in folded.layers}
    assert not kinds & {keras.layers.BatchNormalization, kt.layers.BatchNormalization, keras.Sequential, type(inner)}


def test_several_inputs_outputs_and_operations():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    branch = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 1)(left))
    total = branch + right * 2.0
    model = used(keras.Model({"left": left, "right": right}, {"total": total, "branch": branch}))
    folded = kt.export.fold(model)
    x = {"left": images_of(8), "right": images_of(8)[::-1]}
    expected, found = model(x), folded(x)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_allclose(expected[name], found[name], atol=1e-5)


def test_models_that_cannot_be_followed():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    start = keras.Input((3,))
    with pytest.raises(UserError, match=r"own\S* inside functional\S* is a subclassed model \(Own\)"):
        kt.export.fold(keras.Model(start, Own()(start)))
    with pytest.raises(UserError, match="is not built"):
        kt.export.fold(keras.Sequential([keras.layers.Dense(2)]))
