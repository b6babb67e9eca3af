"""Fixup's initializer against its formula."""

import keras
import numpy as np
import pytest

import keras_tricks as kt


@pytest.mark.parametrize("convolutions, power", [(2, -1 / 2), (3, -1 / 4)])
def test_standard_deviation(convolutions, power):
    values = keras.ops.convert_to_numpy(kt.initializers.FixupInit(16, convolutions, seed=0)((3, 3, 64, 128)))
    assert values.std() == pytest.approx((2 / (9 * 128)) ** 0.5 * 16**power, rel=0.01)
    assert values.mean() == pytest.approx(0, abs=1e-3)


def test_network_starts_with_closed_blocks_and_classifier():
    model = kt.models.create_model("test_fixup_resnet", classifier_activation=None)
    assert not np.any(model(np.ones((1, 64, 64, 3), "float32")))
    scales = [w for w in model.weights if w.path.endswith("_scale/gain")]
    assert [float(s.numpy()) for s in scales] == [1.0] * 3


def test_mistakes():
    with pytest.raises(ValueError, match="`num_blocks` >= 1 and `convolutions` >= 2"):
        kt.initializers.FixupInit(4, 1)
