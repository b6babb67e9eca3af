"""Every signal that ends a run after its step, with its exit code; a signal that is ignored at the start stays so."""

import os
import signal

import pytest

from keras_tricks.callbacks.interruption import SIGNALS, Interrupted, Interruption

CODES = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130, "SIGUSR1": 138, "SIGUSR2": 140, "SIGXCPU": 152}


class Recorded:
    """A checkpoint that counts what is asked of it."""

    plan, position, calls = None, "after epoch 1", ()

    def save(self):
        self.calls += ("save",)

    def flush(self):
        self.calls += ("flush",)


def test_every_signal_is_here():
    assert {signal.Signals(number).name for number in SIGNALS} == set(CODES)


@pytest.fixture
def none_is_ignored():
    """The tests may run under `nohup`."""
    before = [signal.signal(number, signal.default_int_handler) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("name, code", CODES.items())
def test_a_signal_ends_the_run_with_its_code(name, code, capfd, none_is_ignored):
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption(Recorded()) as callback:
        callback.on_train_batch_end(0)
        os.kill(os.getpid(), getattr(signal, name))
        callback.on_train_batch_end(1)
        with pytest.raises(Interrupted, match=f"stopped by {name} after epoch 1") as error:
            callback.on_epoch_end(0)
    assert error.value.exit_code == code and callback.checkpoint.calls == ("flush",)
    assert f"{name}: finishing this step, writing a checkpoint" in capfd.readouterr().err
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_a_signal_that_is_ignored_stays_ignored(name):
    """As under `nohup`, and in the background of a script."""
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption(Recorded()) as callback:
            os.kill(os.getpid(), number)
            callback.on_train_batch_end(0)
            callback.on_epoch_end(0)
            assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
