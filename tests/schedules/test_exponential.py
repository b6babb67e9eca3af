import json

import keras
import numpy as np
import pytest

from keras_tricks.schedules import Exponential, WarmupLinearScaling, exponential


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_half_every_two_epochs(xp):
    factors = Exponential(0.5, 2.0)(np.array([0.0, 1.0, 2.0, 3.0, 8.0]), xp=xp)
    np.testing.assert_allclose(np.asarray(factors), [1, 0.5**0.5, 0.5, 0.5**1.5, 1 / 16], rtol=1e-6)


def test_the_default_loses_three_percent_an_epoch():
    assert exponential(1.0) == pytest.approx(0.97) and Exponential()(10.0) == pytest.approx(0.97**10)


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_epochs_count_from_the_end_of_the_warmup(xp):
    decay = Exponential(0.5, 1.0)
    factors = decay(np.array([0.0, 4.9, 5.0, 6.0, 7.5]), 5.0, xp)
    np.testing.assert_allclose(np.asarray(factors), [1, 1, 1, 0.5, 0.5**2.5], rtol=1e-6)


def test_equals_keras_where_there_is_no_warmup():
    steps = np.arange(90)
    theirs = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=30, decay_rate=0.8)
    ours = WarmupLinearScaling(256, 10, warmup_epochs=0, decay=Exponential(0.8, 3.0))
    expected = [float(theirs(int(step))) for step in steps]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(steps)), expected, rtol=1e-5)


def test_a_schedule_with_it_survives_its_config():
    schedule = WarmupLinearScaling(96, 7, 0.3, 128, 1.5, Exponential(0.9, 2.5))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.decay == Exponential(0.9, 2.5)
    np.testing.assert_array_equal(schedule(np.arange(60)), again(np.arange(60)))
