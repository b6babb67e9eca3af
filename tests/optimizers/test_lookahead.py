"""Lookahead against TensorFlow Addons, with the other wrappers, and in a recipe."""

import json
import pathlib

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.optimizers.wrapper import find_wrapper
from keras_tricks.recipe import Recipe
from keras_tricks.run.build import build_optimizer
from keras_tricks.utils.errors import UserError

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "tfa_lookahead.json").read_text())


def sgd(rate=0.1):
    return kt.optimizers.SGD(rate, momentum=0.9, nesterov=False)


def trained(optimizer, start, gradients):
    """The weights after each update, as lists of arrays. A gradient is a list of one array per weight."""
    weights = [keras.Variable(np.array(w, "float32")) for w in start]
    optimizer.build(weights)
    found = []
    for gradient in gradients:
        gradient = [keras.ops.convert_to_tensor(np.array(g, "float32")) for g in gradient]
        if keras.backend.backend() == "tensorflow":
            optimizer.apply(gradient, weights)
        else:
            state = [keras.ops.convert_to_tensor(v) for v in optimizer.variables]
            new, state = optimizer.stateless_apply(state, gradient, [keras.ops.convert_to_tensor(w) for w in weights])
            for variable, value in zip([*weights, *optimizer.variables], [*new, *state], strict=True):
                variable.assign(value)
        found.append([np.array(keras.ops.convert_to_numpy(w)) for w in weights])
    return found


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['sync_period']}-{c['slow_step_size']}")
def test_equals_tensorflow_addons_over_50_updates(case):
    optimizer = kt.optimizers.Lookahead(sgd(), case["sync_period"], case["slow_step_size"])
    steps = list(zip(*GOLDEN["gradients"], strict=True))
    assert len(steps) == 50
    found = trained(optimizer, GOLDEN["start"], steps)
    for step, expected in case["weights_after"].items():
        for one, two in zip(found[int(step) - 1], expected, strict=True):
            np.testing.assert_allclose(one, np.array(two), rtol=2e-5, atol=2e-6)


def test_with_a_loss_scale_accumulation_and_agc_counts_updates():
    """Four batches per update and one overflow: equal to Lookahead around AGC on the averages."""
    rng = np.random.default_rng(2)
    gradients, start = rng.normal(size=(24, 1, 3, 2)), [np.ones((3, 2))]
    inside = kt.optimizers.Lookahead(kt.optimizers.AGC(sgd(), 0.1, exclude="none"), 2)
    optimizer = kt.optimizers.LossScale(kt.optimizers.GradientAccumulation(inside, 4), 2.0)
    scaled = [2.0 * g for g in gradients]
    scaled.insert(5, np.full((1, 3, 2), np.inf))  # is skipped, and halves the scale
    scaled[6:] = [g / 2 for g in scaled[6:]]
    found = trained(optimizer, start, scaled)[-1]
    plain = kt.optimizers.Lookahead(kt.optimizers.AGC(sgd(), 0.1, exclude="none"), 2)
    expected = trained(plain, start, gradients.reshape(6, 4, 1, 3, 2).mean(1))[-1]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)


def test_the_average_of_weights_follows_the_synchronized_weights():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(kt.optimizers.Lookahead(sgd(0.01), 2), "mse")
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([np.array(w) for w in self.model.get_weights()])

    ema = kt.callbacks.WeightEMA(0.5)
    first = [np.array(w) for w in model.get_weights()]
    model.fit(x, x.sum(1, keepdims=True) * 3, batch_size=8, epochs=1, verbose=0, shuffle=False,
              callbacks=[Watch(), ema])
    for update, weights in enumerate(seen, start=1):
        decay = min(0.5, (1 + update) / (10 + update))
        first = [decay * a + (1 - decay) * w for a, w in zip(first, weights, strict=True)]
    for one, two in zip(ema.averages, first, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(one), two, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"sync_period": 0}, {"sync_period": 1.5}, {"slow_step_size": 0},
                                   {"slow_step_size": 1.5}], ids=str)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        kt.optimizers.Lookahead(sgd(), **wrong)


def test_a_recipe_sets_it():
    changes = ["optimizer.lookahead_steps=5", "optimizer.lookahead_step_size=0.8", "optimizer.agc_clip_factor=0.01"]
    optimizer = build_optimizer(Recipe().override(changes), accumulates=True)
    found = find_wrapper(optimizer, kt.optimizers.Lookahead)
    assert (found.sync_period, found.slow_step_size) == (5, 0.8)
    assert isinstance(found.inner_optimizer, kt.optimizers.AGC)
    assert kt.optimizers.describe(optimizer).endswith(
        "AGC 0.01, Lookahead 0.8 every 5 updates, accumulation of 1 batches")
    assert find_wrapper(build_optimizer(Recipe()), kt.optimizers.Lookahead) is None
