import keras
import numpy as np
import pytest

from keras_tricks.recipe import Recipe
from keras_tricks.run.build import plan_of_recipe
from keras_tricks.schedules import Linear, linear


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_known_values(xp):
    progress = np.array([0.0, 0.25, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(np.asarray(linear(progress, 0.0, xp)), [1, 0.75, 0.5, 0, 0], atol=1e-7)
    np.testing.assert_allclose(np.asarray(linear(progress, 0.2, xp)), [1, 0.8, 0.6, 0.2, 0.2], atol=1e-7)


def test_the_length_leaves_the_warmup_out():
    decay = Linear(11)
    assert decay(1.0, warmup_epochs=1) == 1.0 and decay(6.0, warmup_epochs=1) == pytest.approx(0.5)
    assert decay(11.0, warmup_epochs=1) == pytest.approx(0.0, abs=1e-12)


def test_in_a_recipe():
    recipe = Recipe(schedule={"decay": "linear", "epochs": 4, "batch_size": 16, "base_batch_size": 16})
    plan = plan_of_recipe(recipe, 64, 1)
    assert plan.rate(2) == pytest.approx(0.05)  # halfway
