"""What every optimizer keeps: its arguments, its slots in a file, and a rate that callbacks can set."""

import inspect

import keras
import numpy as np
import pytest
from cases import OPTIMIZERS, names

import keras_tricks as kt

optimizers = pytest.mark.parametrize("cls, arguments, batches_per_update", OPTIMIZERS, ids=names(OPTIMIZERS))
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5], [3.0]], "float32") + 1.0


def compiled(optimizer):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model


def fit(model, epochs, **options):
    return model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, shuffle=False, **options).history


def assert_same(variables, others, rtol=1e-6):
    for one, two in zip(variables, others, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=rtol, err_msg=one.path)


@optimizers
def test_config_round_trip(cls, arguments, batches_per_update):
    given = arguments(0.25)
    optimizer = cls(**given)
    config = optimizer.get_config()
    named = [p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert set(named) <= set(config)
    assert all(config[name] == value for name, value in given.items() if name != "inner_optimizer")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is cls and again.get_config() == config


@optimizers
def test_fit_lowers_the_loss_and_counts_updates(cls, arguments, batches_per_update):
    model = compiled(cls(**arguments(0.03)))
    losses = fit(model, epochs=10)["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert int(model.optimizer.iterations.numpy()) == 20 / batches_per_update


@optimizers
def test_a_file_keeps_the_slots(cls, arguments, batches_per_update, tmp_path):
    model = compiled(cls(**arguments(0.01)))
    fit(model, epochs=2)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is cls
    assert_same(model.optimizer.variables, again.optimizer.variables, rtol=0)
    for m in (model, again):
        fit(m, epochs=2)
    assert_same(model.variables, again.variables)


@optimizers
def test_a_callback_sets_the_rate(cls, arguments, batches_per_update):
    """Four batches of warmup to 0.01: the weights are those of a model whose rate is set by hand."""
    model, by_hand = compiled(cls(**arguments(0.7))), compiled(cls(**arguments(0.7)))
    warmup = kt.callbacks.WarmupLinearScaling(8, base_learning_rate=0.32, warmup_epochs=2)
    assert fit(model, epochs=2, callbacks=[warmup])["learning_rate"] == pytest.approx([0.005, 0.01])
    for batch in range(4):
        by_hand.optimizer.learning_rate = 0.0025 * (batch + 1)
        half = slice(0, 8) if batch % 2 == 0 else slice(8, 16)
        by_hand.train_on_batch(X[half], Y[half])
    assert_same(model.trainable_variables, by_hand.trainable_variables, rtol=1e-5)


@optimizers
def test_a_schedule_counts_updates(cls, arguments, batches_per_update):
    schedule = kt.schedules.WarmupLinearScaling(8, 2, base_learning_rate=0.32, warmup_epochs=2)
    model = compiled(cls(**arguments(schedule)))
    fit(model, epochs=2)
    done = 4 // batches_per_update
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(float(schedule(done)))


@optimizers
def test_mixed_precision(cls, arguments, batches_per_update):
    plain = compiled(cls(**arguments(0.03)))
    fit(plain, epochs=10)
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = cls(**arguments(0.03))
    if cls is not kt.optimizers.LossScale:
        optimizer = kt.optimizers.LossScale(optimizer, initial_scale=2.0**10)
    model = compiled(optimizer)
    losses = fit(model, epochs=10)["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    np.testing.assert_allclose(model.get_weights()[0], plain.get_weights()[0], atol=0.05)
