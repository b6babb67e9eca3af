"""EfficientNets of `keras.applications` at chosen resolutions."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.errors import UserError

COUNTS = [5_288_548, 7_794_184, 9_109_994, 12_233_232, 19_341_616, 30_389_784, 43_040_704, 66_347_960]


@pytest.mark.parametrize("level", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_parameters(level):
    model = kt.models.create_model(f"efficientnet_rs_b{level}", input_shape=(64, 64, 3))
    assert kt.analysis.cost(model).parameters == COUNTS[level]


def test_outputs_equal_keras_applications_at_the_chosen_resolution():
    ours = kt.models.EfficientNetRSB0(input_shape=(96, 96, 3))
    theirs = keras.applications.EfficientNetB0(weights=None, input_shape=(96, 96, 3))
    ours.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5)


def test_info_hands_pixels_over_as_they_are():
    info = kt.models.model_info("efficientnet_rs_b3")
    assert (info.mean, info.std, info.input_size) == ((0.0,) * 3, (1.0,) * 3, (300, 300, 3))


def test_mistakes():
    with pytest.raises(UserError, match="`level` must be 0 to 7. Received: 8"):
        kt.models.EfficientNetRS(8)
    with pytest.raises(UserError, match="needs 32 pixels or more"):
        kt.models.EfficientNetRSB0(input_shape=(16, 16, 3))
