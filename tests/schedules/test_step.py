import keras
import numpy as np
import pytest

from keras_tricks.schedules import Step, step_decay


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_the_rate_changes_exactly_at_a_milestone(xp):
    epochs = np.array([0, 29.999, 30, 59.9, 60, 89.9, 90, 119.9])
    np.testing.assert_allclose(step_decay(epochs, xp=xp), [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)


def test_other_milestones_and_another_factor():
    decay = Step((60, 120, 160), 0.2)
    np.testing.assert_allclose(decay(np.array([59, 60, 120, 160, 199])), [1, 0.2, 0.04, 0.008, 0.008])


def test_milestones_count_from_the_start_of_training():
    assert Step((30,))(30.0, warmup_epochs=5) == 0.1 and Step((30,))(29.9, warmup_epochs=5) == 1.0


def test_no_milestones_is_constant():
    assert step_decay(1000.0, ()) == 1.0
