"""Processes, here threads, that stop after the same step when one of them receives a signal."""

import signal
import threading
import time

import pytest
from support.shared_texts import Store

from keras_tricks.distribution import stop_agreement
from keras_tricks.distribution.stop_agreement import StopAgreement


def train(count, signals, steps=200, synchronous=True):
    """The step at which each of `count` processes stopped. `signals`: {process: step of its signal}."""
    store, barrier, stopped = Store(), threading.Barrier(count), [None] * count
    agreements = [StopAgreement(store, index, count) for index in range(count)]
    for agreement in agreements:
        agreement.key = agreements[0].key  # one process each, with the same number of the run

    def run(index):
        for step in range(1, steps + 1):
            time.sleep(0.001 * (index + 1))
            if synchronous:
                barrier.wait(10)  # a sum over all processes
            if agreements[index].step_done(signal.SIGTERM if step >= signals.get(index, steps + 1) else None):
                stopped[index] = step
                return

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for agreement in agreements:
        agreement.close()
        assert not agreement.thread.is_alive()
    return stopped, agreements


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch):
    monkeypatch.setattr(stop_agreement, "TIMEOUT", 5)
    keys = iter(range(1000))
    first = {}
    monkeypatch.setattr(stop_agreement, "_runs", iter(lambda: first.setdefault("run", next(keys)), None))


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("count, signals", [(2, {0: 5}), (2, {1: 5}), (4, {2: 7}), (4, {0: 3, 1: 3, 2: 3, 3: 3}),
                                            (3, {0: 4, 2: 6})])
def test_all_stop_after_the_same_step(count, signals, synchronous):
    stopped, agreements = train(count, signals, synchronous=synchronous)
    assert None not in stopped and len(set(stopped)) == 1
    assert min(signals.values()) <= stopped[0]
    if synchronous:
        assert stopped[0] <= min(signals.values()) + 3
    assert {agreement.signal for agreement in agreements} == {signal.SIGTERM}
    assert {agreement.last_step for agreement in agreements} == {stopped[0]}


def test_nobody_stops_without_a_signal():
    stopped, agreements = train(2, {}, steps=20)
    assert stopped == [None, None] and [agreement.steps for agreement in agreements] == [20, 20]


def test_a_process_that_is_gone_does_not_hold_the_others(monkeypatch):
    monkeypatch.setattr(stop_agreement, "TIMEOUT", 0.1)
    agreement = StopAgreement(Store(), 0, 2)  # the second never starts
    assert agreement.step_done(signal.SIGTERM)
    assert agreement.last_step is None
