"""The ResNets of keras.applications and of this package: the same outputs, in both directions."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights.applications import from_applications, in_applications, to_applications


def scrambled(model):
    numbers = np.random.default_rng(0)
    for v in model.variables:
        if v.name == "moving_variance":
            v.assign(numbers.uniform(1e-5, 1.5, v.shape))
        elif len(v.shape) == 1:
            v.assign(numbers.uniform(0.2, 0.6, v.shape))
    return model


@pytest.mark.parametrize("name", ["ResNet50", pytest.param("ResNet101", marks=pytest.mark.slow),
                                  pytest.param("ResNet152", marks=pytest.mark.slow)])
def test_both_ways(name):
    arguments = {"input_shape": (64, 96, 3), "classes": 7, "classifier_activation": None}
    theirs, ours = (getattr(package, name)(weights=None, **arguments) for package in (keras.applications, kt.models))
    x = np.random.default_rng(1).normal(size=(2, 64, 96, 3)).astype("float32")
    from_applications(ours, scrambled(theirs))
    expected = np.asarray(theirs(x))
    assert expected.std() > 0.01
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    back = getattr(keras.applications, name)(weights=None, **arguments)
    to_applications(ours, back)
    np.testing.assert_allclose(back(x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("ours, theirs, options", [
    pytest.param("InceptionResNetV2", "InceptionResNetV2", {"bn_scale": False}, marks=pytest.mark.slow),
    ("EfficientNetRSB0", "EfficientNetB0", {}),
])
def test_the_same_weights_in_the_same_order(ours, theirs, options):
    arguments = {"input_shape": (75, 75, 3), "classes": 7, "classifier_activation": None}
    model = getattr(kt.models, ours)(**arguments, **options)
    original, back = (getattr(keras.applications, theirs)(weights=None, **arguments) for _ in range(2))
    from_applications(model, scrambled(original))
    to_applications(model, back)
    x = np.random.default_rng(1).uniform(0, 1, size=(2, 75, 75, 3)).astype("float32")
    scale = 255 if "Efficient" in theirs else 1  # the model of Keras divides by 255
    expected = np.asarray(original(scale * x))
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(back(scale * x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_names():
    assert in_applications("stage2_block10_conv3") == "conv3_block10_3_conv"
    assert in_applications("stage4_block1_shortcut") == "conv5_block1_0_conv"


@pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")
def test_networks_that_do_not_correspond():
    small = {"input_shape": (32, 32, 3)}
    theirs = keras.applications.ResNet50(weights=None, classes=7, **small)
    for ours in (kt.models.ResNet50(classes=8, **small), kt.models.ResNet50D(classes=7, **small)):
        with pytest.raises(UserError, match="resnet50 is not the `keras.applications` form of"):
            from_applications(ours, theirs)
