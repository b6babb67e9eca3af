"""Workers register with the first before TensorFlow starts, or name who is missing. Here each is a thread."""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from keras_tricks.distribution import rendezvous
from keras_tricks.utils.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch):
    """Threads of one process answer at once."""
    monkeypatch.setattr(rendezvous, "HEARTBEAT_INTERVAL", 0.05)


def addresses(count):
    """`count` addresses on loopback whose ports are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]


def cluster(count):
    return {"worker": addresses(count)}


@contextlib.contextmanager
def started(*calls):
    """Runs `wait_for_workers(*call)` in a thread each; afterwards the list holds `None`, or the message, of each."""
    results = ["still there"] * len(calls)

    def run(position, call):
        try:
            results[position] = rendezvous.wait_for_workers(*call)
        except UserError as error:
            results[position] = str(error)

    threads = [threading.Thread(target=run, args=numbered, daemon=True) for numbered in enumerate(calls)]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(30)


def call(workers, index, timeout=20, experiment=None):
    return workers, "worker", index, experiment, timeout


def outcome(*calls):
    with started(*calls) as results:
        pass
    return results


def connect(address):
    """A connection to a worker that is about to listen."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(rendezvous.parse_address(address), timeout=5)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_all_register_and_leave_their_ports_free():
    workers = cluster(3)
    for _ in range(5):
        assert outcome(*[call(workers, index) for index in (2, 1, 0)]) == [None] * 3
        for address in workers["worker"]:
            with socket.socket() as plain:  # without SO_REUSEADDR: not even a closed connection is left on the port
                plain.bind(rendezvous.parse_address(address))


def test_the_last_may_come_late_and_another_come_twice():
    workers = cluster(3)
    addresses = rendezvous.members(workers)
    with started(call(workers, 0)) as first:
        with connect(addresses["worker 0"]) as early:  # worker 1, which is stopped ...
            early.sendall(rendezvous.encode(rendezvous.registration_message(addresses, "worker 1", {})))
            assert rendezvous.decode(early.makefile("rb").readline()).keys() == {"missing"}
        assert outcome(call(workers, 1), call(workers, 2)) == [None] * 2  # ... and started again
    assert first == [None]


def test_a_chief_is_the_first_and_an_evaluator_does_not_matter():
    jobs = {job: [address] for job, address in zip(("worker", "evaluator", "chief"), addresses(3), strict=True)}
    assert list(rendezvous.members(jobs)) == ["chief 0", "worker 0"]
    assert outcome((jobs, "worker", 0), (jobs, "chief", 0)) == [None] * 2
    assert rendezvous.wait_for_workers(jobs, "evaluator", 0) is None


def test_one_worker_waits_for_nobody():
    assert rendezvous.wait_for_workers({"worker": ["no-such-host.invalid:1"]}, "worker", 0) is None


def test_who_is_missing():
    workers = cluster(4)
    message = (f"worker 2 at {workers['worker'][2]}, worker 3 at {workers['worker'][3]} did not start within 2 s: "
               "start it, or correct TF_CONFIG; KERAS_TRICKS_TIMEOUT changes how long to wait.")
    assert outcome(call(workers, 0, 2), call(workers, 1)) == [message, message]


def test_the_first_is_missing():
    workers = cluster(2)
    (message,) = outcome(call(workers, 1, 1))
    assert message.startswith(f"worker 0 at {workers['worker'][0]} did not answer within 1 s: start it")


def test_the_log_says_for_whom(caplog, monkeypatch):
    monkeypatch.setattr(rendezvous, "LOG_AFTER", 0)
    workers = cluster(3)
    with caplog.at_level("INFO", logger="absl"):
        outcome(call(workers, 0, 2), call(workers, 1))
    lines = [record.getMessage() for record in caplog.records]
    assert f"waiting for worker 1 at {workers['worker'][1]}, worker 2 at {workers['worker'][2]}" in lines
    assert lines.count(f"waiting for worker 2 at {workers['worker'][2]}") == 2, "by both who wait"


def test_another_cluster():
    workers = cluster(3)
    other = {"worker": [*workers["worker"][:2], "elsewhere:2222"]}
    messages = outcome(call(workers, 0), call(other, 1))
    assert messages[0] == messages[1]
    for words in ("worker 1 trains with cluster {", ", worker 0 with {", workers["worker"][2], "elsewhere:2222",
                  "same `cluster` in TF_CONFIG"):
        assert words in messages[0]


RECIPE = {"seed": "0", "model.name": '"resnet20"', "schedule.base_learning_rate": "0.1", "keras version": "3.15.1"}


@pytest.mark.parametrize("changes, words", [
    ({"schedule.base_learning_rate": "0.2"}, "schedule.base_learning_rate 0.2, worker 0 with 0.1: start all workers "),
    ({"seed": "1", "model.name": "7", "keras version": "3.13.0"},
     "seed 1, worker 0 with 0 (model.name, keras version differ too): start all workers "),
    ({"train.new": "true"}, "train.new true, worker 0 with missing: start all workers "),
    ({"seed": "4" * 1000}, "seed 444"),
    ({"seed": "line\nline"}, "seed 'line\\nline', worker 0 with 0: "),
])
def test_another_experiment_is_refused_by_all(changes, words):
    workers = cluster(3)
    messages = outcome(call(workers, 0, experiment=RECIPE), call(workers, 1, experiment=RECIPE | changes))
    assert messages[0] == messages[1]
    assert messages[0].startswith("worker 1 trains with " + words)
    assert messages[0].endswith(": start all workers with the same recipe and package versions.")


def test_the_third_worker_hears_of_the_difference_between_two():
    workers = cluster(4)
    with started(call(workers, 0, experiment=RECIPE), call(workers, 2, experiment=RECIPE)) as messages:
        time.sleep(1)
        messages += outcome(call(workers, 1, experiment=RECIPE | {"seed": "1"}))
    assert len(set(messages)) == 1 and messages[0].startswith("worker 1 trains with seed 1, worker 0 with 0: ")


def test_equal_experiments_in_another_order():
    workers = cluster(2)
    reverse = dict(reversed(RECIPE.items()))
    assert outcome(call(workers, 0, experiment=RECIPE), call(workers, 1, experiment=reverse)) == [None] * 2


def test_an_experiment_too_large_for_a_message():
    workers = cluster(2)
    large = {f"key {i}": "x" * 300 for i in range(1000)}
    assert outcome(call(workers, 0, experiment=large), call(workers, 1, experiment=dict(large))) == [None] * 2
    other = large | {"key 7": "y"}
    messages = outcome(call(workers, 0, experiment=large), call(workers, 1, experiment=other))
    assert messages[0] == messages[1]
    assert messages[0].startswith("worker 1 and worker 0 train different experiments")


def test_inside_a_running_event_loop():
    """As in a notebook."""
    workers = cluster(2)

    async def cell():
        return rendezvous.wait_for_workers(*call(workers, 0))

    with started(call(workers, 1)) as other:
        assert asyncio.run(cell()) is None
    assert other == [None]


def test_over_ipv6():
    with socket.socket(socket.AF_INET6) as s:
        try:
            s.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6")
        port = s.getsockname()[1]
    workers = {"worker": [f"[::1]:{port}", *addresses(1)]}
    assert outcome(call(workers, 0), call(workers, 1)) == [None] * 2


def test_a_worker_started_twice():
    workers = cluster(3)
    messages = outcome(call(workers, 0), call(workers, 1), call(workers, 1))
    assert messages[0] == messages[1] == messages[2]
    assert "Two processes are worker 1, on 127.0.0.1 and on 127.0.0.1" in messages[0]
    assert "`index` in TF_CONFIG" in messages[0]


@pytest.mark.parametrize("index", [0, 1])
def test_a_port_that_is_taken(index):
    workers = cluster(2)
    host, port = rendezvous.parse_address(workers["worker"][index])
    with socket.create_server((host, port)), pytest.raises(UserError, match=f"worker {index} cannot listen .* {port}"):
        rendezvous.wait_for_workers(*call(workers, index, 1))


def test_a_port_that_is_taken_for_a_moment_only():
    workers = cluster(2)
    taken = socket.create_server(rendezvous.parse_address(workers["worker"][1]))  # as by a duplicate that checks it
    threading.Timer(rendezvous.HEARTBEAT_INTERVAL / 3, taken.close).start()
    assert outcome(call(workers, 0), call(workers, 1)) == [None] * 2


UNKNOWN = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\xff\n",
    b"[" * 4000 + b"\n",
    b"x" * 100_000,
    b"7\n",
    b'{"task": "worker 1"}\n',
    b'{"task": "worker 1", "digest": 7, "cluster": ""}\n',
    b'{"task": "worker 1\\u001b[2J", "digest": "", "cluster": ""}\n',
    b'{"task": "worker 1", "digest": "", "cluster": []}\n',
    b'{"task": "worker 7", "digest',  # half a message
    b"",
]


def test_unknown_connections_are_ignored():
    workers = cluster(2)
    address = workers["worker"][0]
    with contextlib.ExitStack() as connections, started(call(workers, 0)) as first:
        for words in UNKNOWN * 10:  # more than MAX_PENDING
            unknown = connections.enter_context(connect(address))
            with contextlib.suppress(OSError):  # it may be closed while it sends
                unknown.sendall(words)
        assert outcome(call(workers, 1)) == [None]
    assert first == [None]


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x06\x04", b"y" * 100_000, b"",
                                   b'{"status": "up"}\n' * 100])
def test_something_else_answers(words):
    workers = cluster(2)
    with socket.create_server(rendezvous.parse_address(workers["worker"][0])) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(words)

        threading.Thread(target=answer, daemon=True).start()
        (message,) = outcome(call(workers, 1, 1))
        assert "worker 0 at" in message and "something else listens there" in message
        server.shutdown(socket.SHUT_RDWR)


def test_many_pending_connections_do_not_keep_a_worker_out(monkeypatch):
    """They send nothing and stay; the oldest is closed for each new one."""
    monkeypatch.setattr(rendezvous, "MAX_PENDING", 4)
    workers = cluster(2)
    with contextlib.ExitStack() as connections, started(call(workers, 0)) as first:
        silent = [connections.enter_context(connect(workers["worker"][0])) for _ in range(20)]
        for connection in silent[:16]:
            connection.settimeout(5)
            assert connection.recv(1) == b""
        assert outcome(call(workers, 1)) == [None]
    assert first == [None]


def test_a_pending_connection_is_closed_in_time(monkeypatch):
    monkeypatch.setattr(rendezvous, "READ_TIMEOUT", 0.2)
    workers = cluster(2)
    with started(call(workers, 0, 1)):
        with connect(workers["worker"][0]) as silent:
            silent.sendall(b'{"task": ')
            assert silent.recv(1) == b""


def test_a_thousand_workers_fit_into_a_message():
    addresses = {f"worker {i}": f"{'h' * 60}{i}:2222" for i in range(1000)}
    message = rendezvous.encode(rendezvous.registration_message(addresses, "worker 1", RECIPE))
    assert len(message) < rendezvous.MAX_MESSAGE and rendezvous.decode(message)["cluster"]
    error = str(rendezvous.timeout_error(rendezvous._listed(list(addresses)), "start", 300))
    assert error.startswith("worker 0, worker 1, ") and "worker 7 and 992 more did not start" in error


@pytest.mark.slow
@pytest.mark.parametrize("index, words", [(0, "worker 1 at {} did not start within 3 s"),
                                          (1, "worker 0 at {} did not answer within 3 s")])
def test_a_worker_that_never_starts_ends_the_command(index, words, tmp_path):
    workers = cluster(2)
    config = {"cluster": workers, "task": {"type": "worker", "index": index}}
    result = subprocess.run(
        [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--strategy", "multi_worker"],
        env={**os.environ, "TF_CONFIG": json.dumps(config), "KERAS_TRICKS_TIMEOUT": "3", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )
    assert result.returncode == 2, result.stderr[-3000:]
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("keras-tricks: " + words.format(workers["worker"][1 - index]))
    assert list(tmp_path.iterdir()) == []
