"""Processes, here threads, that compare what they must have in common."""

import threading

import keras
import pytest
from support.shared_texts import Store

from keras_tricks.distribution import shared_texts
from keras_tricks.distribution.shared_texts import check_equal
from keras_tricks.utils.errors import UserError

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
