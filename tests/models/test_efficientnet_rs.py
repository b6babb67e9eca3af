"""EfficientNets of `keras.applications` at chosen resolutions."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import from_applications

COUNTS = [5_288_548, 7_794_184, 9_109_994, 12_233_232, 19_341_616, 30_389_784, 43_040_704, 66_347_960]


@pytest.mark.parametrize("level", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_parameters(level):
    model = kt.models.create_model(f"efficientnet_rs_b{level}", input_shape=(64, 64, 3))
    assert kt.analysis.cost(model).parameters == COUNTS[level]


def test_outputs_equal_keras_applications_at_the_chosen_resolution():
    """The model of Keras divides pixels by 255 itself."""
    ours = kt.models.EfficientNetRSB0(input_shape=(96, 96, 3))
    theirs = keras.applications.EfficientNetB0(weights=None, input_shape=(96, 96, 3))
    from_applications(ours, theirs)
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(ours(x / 255), theirs(x), rtol=1e-4)


def test_weights_have_the_same_names_whatever_was_built_before():
    first, second = (kt.models.EfficientNetRSB0(input_shape=(32, 32, 3), classes=3) for _ in range(2))
    assert [w.path for w in first.weights] == [w.path for w in second.weights]
    assert first.weights[-1].path == "head/bias"


def test_options():
    model = kt.models.EfficientNetRSB0(input_shape=(32, 32, 3), classes=3, dropout_rate=0.35)
    assert model.get_layer("head_dropout").rate == 0.35
    assert kt.models.EfficientNetRSB2(include_top=False, pooling="avg").output_shape == (None, 1408)


def test_mistakes():
    with pytest.raises(UserError, match="`level` must be 0 to 7. Received: 8"):
        kt.models.EfficientNetRS(8)
    with pytest.raises(UserError, match="must be 32 pixels or more"):
        kt.models.EfficientNetRSB0(input_shape=(16, 16, 3))
