"""Gradient accumulation: equal to the large batch, counted in updates."""

import keras
import numpy as np
import pytest

import keras_tricks as kt

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(96, 6)).astype("float32"), RNG.integers(0, 3, 96)


def fit(optimizer, batch_size, epochs=3, callbacks=()):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size, epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def weights(model):
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables])


def schedule():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)


def test_equals_the_large_batch_with_a_schedule():
    large = fit(kt.optimizers.SGD(schedule(), weight_decay=1e-2), 48)
    small = fit(kt.optimizers.GradientAccumulation(kt.optimizers.SGD(schedule(), weight_decay=1e-2), 4), 12)
    np.testing.assert_allclose(weights(small), weights(large), rtol=1e-5, atol=1e-6)
    assert int(small.optimizer.iterations) == int(large.optimizer.iterations) == 6


def test_averages_advance_once_per_update():
    ema_large, ema_small = kt.callbacks.WeightEMA(0.9), kt.callbacks.WeightEMA(0.9)
    fit(kt.optimizers.SGD(0.1), 48, callbacks=[ema_large])
    fit(kt.optimizers.GradientAccumulation(kt.optimizers.SGD(0.1), 4), 12, callbacks=[ema_small])
    for small, large in zip(ema_small.averages, ema_large.averages, strict=True):
        small, large = keras.ops.convert_to_numpy(small), keras.ops.convert_to_numpy(large)
        np.testing.assert_allclose(small, large, rtol=1e-5, atol=1e-6)


def test_one_step_is_the_inner_optimizer():
    plain = fit(kt.optimizers.SGD(0.1), 24)
    wrapped = fit(kt.optimizers.GradientAccumulation(kt.optimizers.SGD(0.1), 1), 24)
    np.testing.assert_array_equal(weights(plain), weights(wrapped))


@pytest.mark.parametrize("steps", [0, 1.5])
def test_wrong_steps(steps):
    with pytest.raises(ValueError, match="steps"):
        kt.optimizers.GradientAccumulation(kt.optimizers.SGD(), steps)
    optimizer = kt.optimizers.GradientAccumulation(kt.optimizers.SGD(), 3)
    with pytest.raises(ValueError, match="steps"):
        optimizer.steps = steps
    assert optimizer.steps == 3


# ---- another number of steps while training


class Counted(keras.Sequential):
    traces = 0

    def train_step(self, *arguments):
        self.traces += 1
        return super().train_step(*arguments)


def network(optimizer, kind=Counted):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "tanh", name="hidden"), keras.layers.Dense(3, "softmax", name="head")]
    model = kind([keras.Input((6,)), *layers], name="network")
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=keras.backend.backend() != "tensorflow")
    model.optimizer.build(model.trainable_variables)  # TensorFlow traces once more when variables are created
    return model


def epoch(model, batch_size):
    model.fit(X, Y, batch_size, shuffle=False, verbose=0)


def accumulating(kind=Counted):
    return network(kt.optimizers.GradientAccumulation(kt.optimizers.SGD(0.1, momentum=0.9), 1), kind)


def test_steps_may_change_between_epochs_without_a_new_trace():
    large, small = network(kt.optimizers.SGD(0.1, momentum=0.9)), accumulating()
    for steps in (1, 4, 2, 8):
        small.optimizer.steps = steps
        epoch(small, 12)
        epoch(large, 12 * steps)
        assert small.optimizer.steps == steps
        np.testing.assert_allclose(weights(small), weights(large), rtol=1e-5, atol=1e-6)
        assert int(small.optimizer.iterations) == int(large.optimizer.iterations)
    assert small.traces == 1


def test_a_sum_under_way_becomes_the_average_of_its_own_batches():
    """After three batches of four, two are requested: the next batch completes an average of four."""
    large = network(kt.optimizers.SGD(0.1))
    small = network(kt.optimizers.GradientAccumulation(kt.optimizers.SGD(0.1), 4))
    small.fit(X[:36], Y[:36], 12, shuffle=False, verbose=0)
    assert int(small.optimizer.iterations) == 0
    small.optimizer.steps = 2
    small.fit(X[36:48], Y[36:48], 12, shuffle=False, verbose=0)
    large.fit(X[:48], Y[:48], 48, shuffle=False, verbose=0)
    assert int(small.optimizer.iterations) == 1
    np.testing.assert_allclose(weights(small), weights(large), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["checkpoint", "keras"])
def test_steps_are_restored_with_the_weights(kind, tmp_path):
    model = accumulating(keras.Sequential)
    model.optimizer.steps = 2
    epoch(model, 12)
    model.optimizer.steps = 4
    if kind == "keras":
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
    else:
        checkpoint = kt.callbacks.Checkpoint(tmp_path)
        checkpoint.set_model(model)
        checkpoint.on_epoch_end(0, {})
        again = accumulating(keras.Sequential)
        assert checkpoint.restore(again) == kt.callbacks.Position(1)
    for m in (model, again):
        epoch(m, 12)
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 4 + 2
    np.testing.assert_array_equal(weights(again), weights(model))
    assert again.optimizer.steps == model.optimizer.steps == 4
