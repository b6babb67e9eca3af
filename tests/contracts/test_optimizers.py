"""Contracts of every optimizer: arguments, saved slots, and a learning rate that callbacks can set."""

import copy
import inspect

import keras
import numpy as np
import pytest
from cases import OPTIMIZERS, names, sgd
from support.lookahead import FromZero, InStep

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
    kept = copy.deepcopy(config)
    assert cls.from_config(config).get_config() == kept == config, "`from_config` changed its argument"


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
    """Four batches of warmup to 0.01: the weights equal those of a model whose learning rate is set manually."""
    model, by_hand = compiled(cls(**arguments(0.7))), compiled(cls(**arguments(0.7)))
    images = 8 * batches_per_update
    warmup = kt.callbacks.WarmupLinearScaling(images, base_learning_rate=0.01, base_batch_size=images, warmup_epochs=2)
    assert fit(model, epochs=2, callbacks=[warmup])["learning_rate"] == pytest.approx([0.005, 0.01])
    for batch in range(4):
        by_hand.optimizer.learning_rate = 0.0025 * batches_per_update * (batch // batches_per_update + 1)
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


# ---- wrappers: state that starts at the weights, and what happens after an update

WRAPPERS = {
    "AGC": lambda inner: kt.optimizers.AGC(inner, 0.1, exclude="none"),
    "GradientAccumulation": lambda inner: kt.optimizers.GradientAccumulation(inner, 2),
    "LossScale": lambda inner: kt.optimizers.LossScale(inner, 2.0**10),
    "Lookahead": lambda inner: kt.optimizers.Lookahead(inner, 2),
}
wrappers = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=list(WRAPPERS))
GRADIENTS = np.random.default_rng(1).normal(size=(16, 3, 2)).astype("float32")


def built(optimizer):
    """The optimizer and the weight it updates, which is assigned after the optimizer was built, as from a file."""
    weight = keras.Variable(np.zeros((3, 2), "float32"), name="kernel")
    optimizer.build([weight])
    weight.assign(np.arange(6, dtype="float32").reshape(3, 2) + 1.0)
    return optimizer, weight


def apply(optimizer, weight, gradients):
    """Updates as in `fit`: the loss, and so the gradient, has the factor of a loss scale."""
    for gradient in gradients:
        gradient = keras.ops.convert_to_tensor(gradient) * keras.ops.convert_to_tensor(optimizer.scale_loss(1.0))
        if keras.backend.backend() == "tensorflow":
            optimizer.apply([gradient], [weight])
            continue
        state = [keras.ops.convert_to_tensor(v) for v in optimizer.variables]
        (new,), state = optimizer.stateless_apply(state, [gradient], [keras.ops.convert_to_tensor(weight)])
        for variable, value in zip([weight, *optimizer.variables], [new, *state], strict=True):
            variable.assign(value)


def values(*variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def without_gradients(wrap):
    optimizer, weight = built(wrap(sgd(0.1)))
    before = values(weight)
    apply(optimizer, weight, np.zeros((8, 3, 2), "float32"))
    return before, values(weight)


def accumulated(wrap):
    """Sixteen gradients in fours inside `GradientAccumulation`, and their averages without it."""
    averages = GRADIENTS.reshape(4, 4, 3, 2).mean(1)
    small, large = built(kt.optimizers.GradientAccumulation(wrap(sgd(0.1)), 4)), built(wrap(sgd(0.1)))
    apply(*small, GRADIENTS)
    apply(*large, averages)
    return values(small[1], *small[0].inner_optimizer.variables), values(large[1], *large[0].variables)


def accumulated_inside(wrap):
    """The same with `GradientAccumulation` inside: a batch without an update must not count."""
    small, large = built(wrap(kt.optimizers.GradientAccumulation(sgd(0.1), 4))), built(wrap(sgd(0.1)))
    apply(*small, GRADIENTS)
    apply(*large, GRADIENTS.reshape(4, 4, 3, 2).mean(1))
    return values(small[1], *small[0].slow), values(large[1], *large[0].slow)


def overflowed(wrap):
    """All variables inside a loss scale, before and after a step whose gradient is infinite."""
    optimizer, weight = built(kt.optimizers.LossScale(wrap(sgd(0.1))))
    apply(optimizer, weight, GRADIENTS[:3])
    before = values(weight, *optimizer.inner_optimizer.variables)
    apply(optimizer, weight, [np.full((3, 2), np.inf, "float32")])
    return before, values(weight, *optimizer.inner_optimizer.variables)


def check_equal(pair, rtol=0.0):
    for one, two in zip(*pair, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol)


@wrappers
def test_without_gradients_the_weights_stay(wrap):
    """State that starts anywhere but at the weights would pull them there."""
    check_equal(without_gradients(wrap))


@pytest.mark.parametrize("wrap", [WRAPPERS["AGC"], WRAPPERS["Lookahead"]], ids=["AGC", "Lookahead"])
def test_accumulation_around_a_wrapper_equals_the_large_batch(wrap):
    check_equal(accumulated(wrap), rtol=1e-5)


def test_accumulation_inside_a_wrapper_equals_the_large_batch():
    check_equal(accumulated_inside(WRAPPERS["Lookahead"]), rtol=1e-5)


@pytest.mark.parametrize("wrap", [f for name, f in WRAPPERS.items() if name != "LossScale"],
                         ids=[name for name in WRAPPERS if name != "LossScale"])
def test_a_skipped_step_changes_nothing(wrap):
    check_equal(overflowed(wrap))


@pytest.mark.parametrize("wrong, contract", [
    (FromZero, without_gradients), (InStep, accumulated_inside)], ids=lambda f: f.__name__)
def test_the_contracts_find_a_wrong_wrapper(wrong, contract):
    with pytest.raises(AssertionError):
        check_equal(contract(lambda inner: wrong(inner, 2)), rtol=1e-5)


def test_a_wrapper_with_copies_in_fit_and_in_a_file(tmp_path):
    """Two updates forward, one half back: in numbers, through a compiled `fit`, and after loading."""
    model = compiled(kt.optimizers.Lookahead(kt.optimizers.SGD(0.03, momentum=0.0, nesterov=False), 2))
    by_hand = compiled(kt.optimizers.SGD(0.03, momentum=0.0, nesterov=False))
    slow = by_hand.get_weights()
    for epoch in range(3):  # of two updates
        fit(model, 1)
        fit(by_hand, 1)
        slow = [s + 0.5 * (w - s) for s, w in zip(slow, by_hand.get_weights(), strict=True)]
        by_hand.set_weights(slow)
        for one, two in zip(model.get_weights(), slow, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5)
        if epoch == 1:
            model.save(tmp_path / "m.keras")
            model = keras.models.load_model(tmp_path / "m.keras")
