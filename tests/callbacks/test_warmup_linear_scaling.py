import json
import pathlib
import types

import keras
import numpy as np
import pytest

from keras_tricks.callbacks import WarmupLinearScaling
from keras_tricks.schedules import Cosine, Step, linear_scaling

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch_schedule.json").read_text())
EPOCHS, STEPS, WARMUP = GOLDEN["epochs"], GOLDEN["steps_per_epoch"], GOLDEN["warmup_epochs"]
DECAYS = {"cosine": Cosine(EPOCHS), "step": Step(tuple(GOLDEN["milestone_epochs"]))}
cases = pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda c: f"{c['decay']}-{c['batch_size']}")


class Recorder(keras.callbacks.Callback):
    """Records the learning rate of each update."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def fit(callback, optimizer=None, epochs=1, steps=STEPS, **kwargs):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer or keras.optimizers.SGD(1.0), "mse")
    recorder = Recorder()
    x = np.zeros((steps, 1), "float32")
    history = model.fit(x, x, batch_size=1, epochs=epochs, callbacks=[callback, recorder], verbose=0, **kwargs)
    return recorder.rates, history.history


@pytest.mark.parametrize("case", GOLDEN["schedules"][1:3], ids=["cosine-1024", "step-256"])
def test_every_update_of_fit_uses_the_rate_of_torch(case):
    epochs = 6
    peak = linear_scaling(case["batch_size"])
    callback = WarmupLinearScaling(1, peak, base_batch_size=1, warmup_epochs=WARMUP, decay=DECAYS[case["decay"]])
    rates, history = fit(callback, epochs=epochs)
    np.testing.assert_allclose(rates, case["learning_rate"][: epochs * STEPS], rtol=0, atol=1e-7)
    np.testing.assert_allclose(history["learning_rate"], rates[STEPS - 1 :: STEPS], rtol=1e-7)


@cases
def test_all_120_epochs_equal_torch(case):
    callback = WarmupLinearScaling(case["batch_size"], warmup_epochs=WARMUP, decay=DECAYS[case["decay"]])
    optimizer = keras.optimizers.SGD(1.0)
    callback.set_model(types.SimpleNamespace(optimizer=optimizer))
    callback.set_params({"steps": STEPS})
    callback.on_train_begin()
    rates = []
    for epoch in range(EPOCHS):
        callback.on_epoch_begin(epoch)
        for batch in range(STEPS):
            callback.on_train_batch_begin(batch)
            rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, case["learning_rate"], rtol=0, atol=1e-7)


def test_a_resumed_fit_continues_where_it_stopped():
    callback = lambda: WarmupLinearScaling(1, base_batch_size=1, warmup_epochs=1, decay=Cosine(4))  # noqa: E731
    whole, _ = fit(callback(), epochs=4)
    rest, _ = fit(callback(), epochs=4, initial_epoch=2)
    assert len(rest) == 2 * STEPS and rest == whole[2 * STEPS :]


def test_the_rate_reaches_the_weights():
    # Loss (w x - 1)^2 with x = 1: w <- w - 2 lr (w - 1), a different factor (1 - 2 lr) in every step.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback = WarmupLinearScaling(1, base_learning_rate=0.4, base_batch_size=1, warmup_epochs=1)
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, callbacks=[callback], verbose=0)
    expected = 1 - np.prod([1 - 2 * 0.4 * i / 4 for i in (1, 2, 3, 4)])
    assert float(model.weights[0][0, 0]) == pytest.approx(expected, rel=1e-6)


def test_a_loss_scale_optimizer_gets_the_rate_too():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    rates, _ = fit(WarmupLinearScaling(1, base_batch_size=1, warmup_epochs=1), optimizer)
    np.testing.assert_allclose(rates, 0.1 * np.arange(1, STEPS + 1) / STEPS, rtol=1e-6)
    assert float(optimizer.inner_optimizer.learning_rate) == pytest.approx(0.1)


def test_unknown_length_of_an_epoch_is_an_error():
    def endless():
        while True:
            yield np.zeros((1, 1)), np.zeros((1, 1))

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback = WarmupLinearScaling(256)
    callback.set_model(model)
    callback.set_params({"steps": None})
    with pytest.raises(ValueError, match="pass `steps_per_epoch` to WarmupLinearScaling or to fit"):
        callback.on_train_begin()
    recorder = Recorder()
    warmup = WarmupLinearScaling(1, base_batch_size=1, warmup_epochs=1)
    model.fit(endless(), steps_per_epoch=4, callbacks=[warmup, recorder], verbose=0)
    np.testing.assert_allclose(recorder.rates, [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
