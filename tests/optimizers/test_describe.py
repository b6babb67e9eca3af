"""The line that `plan` and the log print about an optimizer is read from the object."""

import keras
import pytest

import keras_tricks as kt
from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.run.build import build_optimizer


@pytest.mark.parametrize("optimizer, line", [
    (lambda: kt.optimizers.SGD(0.0, momentum=0.9, nesterov=True, weight_decay=1e-4),
     "SGD, Nesterov momentum 0.9, weight decay 0.0001 (coupled)"),
    (lambda: keras.optimizers.SGD(0.5), "SGD, learning rate 0.5, no weight decay"),
    (lambda: kt.optimizers.AGC(kt.optimizers.SGD(0.0, momentum=0.9, nesterov=False), clip_factor=0.01),
     "SGD, momentum 0.9, no weight decay, AGC 0.01"),
])
def test_the_line(optimizer, line):
    assert kt.optimizers.describe(optimizer()) == line


def test_adam_has_no_momentum():
    adam = kt.optimizers.describe(build_optimizer(load_recipe("dont_decay/cifar10_decay_adam")))
    assert adam.startswith("Adam") and "momentum" not in adam and "beta_1" in adam
    assert kt.optimizers.describe(build_optimizer(Recipe())).startswith("SGD, Nesterov momentum 0.9")
