"""The callbacks of a run read no value of a step that they do not need, on every backend."""

import math

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks import callbacks
from keras_tricks.callbacks import callback_list
from keras_tricks.distribution.step_state import StepState

STEPS = 40


class Tensor:
    """A loss that notes when it is read."""

    def __init__(self, value, read):
        self.value, self.read = value, read

    def __array__(self, dtype=None, copy=None):
        self.read.append(self.value)
        return np.array(self.value, dtype)


@pytest.fixture
def as_numpy(monkeypatch):
    """`Tensor`s are converted as tensors are, on every backend."""
    original = keras.ops.convert_to_numpy
    monkeypatch.setattr(keras.ops, "convert_to_numpy",
                        lambda x: np.asarray(x) if isinstance(x, Tensor) else original(x))


def compiled():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(kt.optimizers.SGD(0.1), "mse", jit_compile=keras.backend.backend() == "jax")
    return model


def begun(callback):
    callback.set_model(compiled())
    callback.on_train_begin()
    return callback


def test_only_callbacks_that_need_numbers_get_them(as_numpy):
    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.logs = logs

    class Ours(Seen):
        takes_tensors = True

    read, plain, ours = [], Seen(), Ours()
    for given, expected in [([ours, keras.callbacks.History()], []), ([ours, plain], [2.0])]:
        fits = callback_list.CallbackList(given, compiled(), verbose=0, epochs=1, steps=STEPS)
        fits.on_train_batch_end(0, {"loss": Tensor(2.0, read)})
        assert read == expected
    assert isinstance(ours.logs["loss"], Tensor) and plain.logs == {"loss": 2.0}


def test_a_lambda_and_an_old_hook_get_numbers(as_numpy):
    class Old(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            found.append(logs["loss"])

    found = []
    simple = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: found.append(logs["loss"]))
    fits = callback_list.CallbackList([Old(), simple], compiled(), verbose=0, epochs=1, steps=STEPS)
    fits.on_train_batch_end(0, {"loss": Tensor(3.0, [])})
    assert found == [3.0, 3.0]


def watchdog(tmp_path):
    checkpoint = callbacks.Checkpoint(tmp_path)
    return begun(callbacks.Watchdog(checkpoint)), checkpoint


def test_the_loss_is_read_every_16_steps_and_one_step_late(as_numpy, tmp_path):
    watch, _ = watchdog(tmp_path)
    read = []
    for step in range(STEPS):
        watch.on_train_batch_end(step, {"loss": Tensor(float(step), read)})
    watch.on_train_end()
    assert len(read) <= 3 and read[0] == 14.0


@pytest.mark.parametrize("bad", [0, 7, 15, 16, 31])
def test_the_first_step_without_a_finite_loss_is_named(as_numpy, tmp_path, bad):
    watch, _ = watchdog(tmp_path)
    with pytest.raises(callbacks.NonFiniteLoss, match=f"the loss is nan at step {bad + 1} of epoch 1"):
        for step in range(bad + 17):
            watch.on_train_batch_end(step, {"loss": Tensor(math.nan if step >= bad else 1.0, [])})
    watch.on_train_end()


@pytest.mark.parametrize("end", ["save", "epoch"])
def test_a_loss_is_read_before_anything_is_saved(as_numpy, tmp_path, end):
    watch, checkpoint = watchdog(tmp_path)
    watch.on_train_batch_end(0, {"loss": Tensor(math.inf, [])})
    with pytest.raises(callbacks.NonFiniteLoss, match="the loss is inf at step 1"):
        checkpoint.save() if end == "save" else watch.on_epoch_end(0, {})
    watch.on_train_end()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_number_is_checked_at_once(tmp_path):
    watch, _ = watchdog(tmp_path)
    with pytest.raises(callbacks.NonFiniteLoss, match="at step 1"):
        watch.on_train_batch_end(0, {"loss": math.nan})
    watch.on_train_end()


def test_variables_are_read_and_set_between_steps():
    """The values a callback reads are those of the step, and what it sets is used by the next one."""
    class Between(keras.callbacks.Callback):
        takes_tensors = True

        def set_model(self, model):
            super().set_model(model)
            self.state, self.rows = StepState(self), []

        def on_train_batch_end(self, batch, logs=None):
            optimizer, kernel = self.state.optimizer, network.trainable_variables[0]
            before = keras.ops.convert_to_numpy(self.state.values([kernel])[0]).copy()
            self.rows.append((self.state.number(optimizer.iterations), before))

        def on_train_batch_begin(self, batch, logs=None):
            rate = np.float32(0.0 if batch >= 2 else 0.1)
            self.state.set_for_next_step(self.state.optimizer.learning_rate, rate)

    network, watch = compiled(), Between()
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    network.fit(x, x[:, :1], batch_size=4, verbose=0, shuffle=False, callbacks=callback_list.CallbackList(
        [watch], network, verbose=0, epochs=1, steps=4))
    kernels = [kernel for _, kernel in watch.rows]
    assert [step for step, _ in watch.rows] == [1, 2, 3, 4]
    assert np.abs(kernels[1] - kernels[0]).max() > 0
    np.testing.assert_array_equal(kernels[2], kernels[1])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(network.trainable_variables[0]), kernels[3])
    assert float(keras.ops.convert_to_numpy(network.optimizer.learning_rate)) == 0.0


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="KERAS_BACKEND=jax")
def test_a_rate_that_changes_at_every_step_compiles_once(caplog):
    class Rate(keras.callbacks.Callback):
        def set_model(self, model):
            super().set_model(model)
            self.state = StepState(self)

        def on_train_batch_begin(self, batch, logs=None):
            self.state.set_for_next_step(self.state.optimizer.learning_rate, np.float32(0.1 / (batch + 1)))

    import jax

    network, x = compiled(), np.zeros((16, 4), "float32")
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        network.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[Rate()])
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("Compiling jit(train_step)") for line in lines) == 1, lines
