"""Processes, here threads, that compare what they must have in common."""

import socket
import threading
import time

import keras
import pytest
from support.shared_texts import Store

from keras_tricks.distribution import shared_texts
from keras_tricks.distribution.reachable import unreachable
from keras_tricks.distribution.shared_texts import PeerFailed, WorkersDiffer, check_equal, comparison
from keras_tricks.utils.errors import UserError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(shared_texts, "PROBE_INTERVAL", 0.05)
    monkeypatch.setattr(shared_texts, "ACKNOWLEDGE_TIMEOUT", 0.5)


FACTS = {"number of training images": "1198", "set of classes": "cat, dog"}


def compare(facts, monkeypatch, timeout=5):
    """The message that each process gets, `None` if there is none. `None` for its facts: it does not answer."""
    monkeypatch.setattr(shared_texts, "_comparisons", iter(lambda: 0, None))
    store, names, messages = Store(), [f"worker {i}" for i in range(len(facts))], [None] * len(facts)

    def run(index):
        try:
            check_equal(facts[index], names, index, store, timeout)
        except UserError as error:
            messages[index] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(facts)) if facts[i] is not None]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return messages


@pytest.mark.parametrize("count", [1, 2, 4])
def test_equal_facts(count, monkeypatch):
    assert compare([FACTS] * count, monkeypatch) == [None] * count


def test_all_hear_who_differs(monkeypatch):
    other = {**FACTS, "set of classes": "cat, ship"}
    messages = compare([FACTS, FACTS, other, FACTS], monkeypatch)
    assert set(messages) == {"worker 2 has other data than worker 0: the set of classes is cat, ship, not cat, dog. "
                             "Give all workers the same images."}


def test_all_hear_who_is_missing(monkeypatch):
    messages = compare([FACTS, None, FACTS], monkeypatch, timeout=0.2)
    assert messages[0] == messages[2] and messages[0].startswith("worker 1 did not open its data within 0.2 s")


def prepare(outcomes, monkeypatch, unreachable=None, timeout=60):
    """The error of each process, whose data are these facts, or whose preparation raises this error. `None`: killed."""
    monkeypatch.setattr(shared_texts, "_comparisons", iter(lambda: 0, None))
    store, names, errors = Store(), [f"worker {i}" for i in range(len(outcomes))], [None] * len(outcomes)

    def run(index):
        try:
            with comparison(names, index, store, timeout, unreachable) as compare:
                if isinstance(outcomes[index], BaseException):
                    raise outcomes[index]
                compare(outcomes[index])
        except BaseException as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(outcomes)) if outcomes[i] is not None]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_process_that_fails_ends_all_with_its_cause(failing, monkeypatch):
    outcomes = [FACTS] * 3
    outcomes[failing] = cause = UserError("/data has no train/.")
    start = time.monotonic()
    errors = prepare(outcomes, monkeypatch)
    assert time.monotonic() - start < 20  # not the timeout of 60 s
    assert errors.pop(failing) is cause
    assert [type(error) for error in errors] == [PeerFailed] * 2
    assert {str(error) for error in errors} == {f"worker {failing} failed: /data has no train/."}


def test_other_errors_have_their_name(monkeypatch):
    errors = prepare([FACTS, ZeroDivisionError("division by zero")], monkeypatch)
    assert str(errors[0]) == "worker 1 failed: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("killed", [0, 2])
def test_a_killed_process_is_named(killed, monkeypatch):
    outcomes = [FACTS] * 3
    outcomes[killed] = None
    ended = lambda among: [name for name in among if name == f"worker {killed}"]  # noqa: E731
    errors = prepare(outcomes, monkeypatch, ended)
    errors.pop(killed)
    assert {str(error) for error in errors} == {f"worker {killed} ended before the first step"}


def test_a_process_with_other_data_is_no_failure_of_one(monkeypatch):
    errors = prepare([FACTS, {**FACTS, "number of training images": "1197"}], monkeypatch)
    assert [type(error) for error in errors] == [WorkersDiffer] * 2
    assert str(errors[0]) == str(errors[1]) == ("worker 1 has other data than worker 0: the number of training images "
                                                "is 1197, not 1198. Give all workers the same images.")


def test_addresses_that_accept_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as alive:
        with socket.socket() as dead:
            dead.bind(("127.0.0.1", 0))
            addresses = {name: f"127.0.0.1:{s.getsockname()[1]}" for name, s in (("a", alive), ("b", dead))}
        assert unreachable({**addresses, "c": "nonsense"}) == ["b", "c"]
    assert unreachable({}) == []


def test_the_service_of_the_backend():
    """The private functions exist; `test_multi_worker.py` uses them between two processes."""
    if keras.backend.backend() == "tensorflow":
        context = shared_texts._tensorflow_context()
        assert callable(context.set_config_key_value) and callable(context.get_config_key_value)
    elif keras.backend.backend() == "jax":
        from jax._src.lib import _jax

        shared_texts._jax_client()
        client = _jax.DistributedRuntimeClient
        assert callable(client.key_value_set) and callable(client.blocking_key_value_get)
