import keras
import numpy as np
import pytest

from keras_tricks.schedules import Cosine, cosine


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_known_values(xp):
    progress = np.array([0.0, 1 / 3, 0.5, 2 / 3, 1.0, 1.5])
    np.testing.assert_allclose(np.asarray(cosine(progress, xp)), [1, 0.75, 0.5, 0.25, 0, 0], atol=1e-7)


def test_the_length_leaves_the_warmup_out():
    decay = Cosine(120)
    assert decay(5.0, warmup_epochs=5) == 1.0
    assert decay(62.5, warmup_epochs=5) == pytest.approx(0.5)  # halfway from 5 to 120
    assert decay(60.0) == pytest.approx(0.5)
    assert decay(120.0, warmup_epochs=5) == pytest.approx(0.0, abs=1e-15)


def test_a_warmup_as_long_as_training_divides_nothing_by_zero():
    assert 0 <= Cosine(5)(5.0, warmup_epochs=5) <= 1
