import keras
import numpy as np
import pytest

from keras_tricks.schedules import warmup


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_batch_i_of_m_has_i_parts_of_m(xp):
    factors = np.asarray(warmup(np.arange(8.0), 5, xp))
    np.testing.assert_allclose(factors, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1], atol=1e-7)


@pytest.mark.parametrize("steps", [0, 0.5, 1])
def test_no_warmup(steps):
    np.testing.assert_array_equal(warmup(np.arange(3.0), steps), 1.0)


def test_a_fraction_of_a_step():
    np.testing.assert_allclose(warmup(np.arange(4.0), 2.5), [0.4, 0.8, 1.0, 1.0])
