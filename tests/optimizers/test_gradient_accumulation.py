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
