"""Workers find each other before TensorFlow starts, or say who is missing. Here each is a thread on loopback."""

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
    """Runs `meet(*call)` in a thread each; afterwards the list holds `None`, or the message, of each."""
    results = ["still there"] * len(calls)

    def run(position, call):
        try:
            results[position] = rendezvous.meet(*call)
        except UserError as error:
            results[position] = str(error)

    threads = [threading.Thread(target=run, args=numbered, daemon=True) for numbered in enumerate(calls)]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(30)


def outcome(*calls):
    with started(*calls) as results:
        pass
    return results


def connect(address):
    """A connection to a worker that is about to listen."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(rendezvous.split(address), timeout=5)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_all_meet_and_leave_their_ports_free():
    workers = cluster(3)
    for _ in range(5):
        assert outcome(*[(workers, "worker", index, 20) for index in (2, 1, 0)]) == [None] * 3
        for address in workers["worker"]:
            with socket.socket() as plain:  # without SO_REUSEADDR: not even a closed connection is left on the port
                plain.bind(rendezvous.split(address))


def test_the_last_may_come_late_and_another_come_twice():
    workers = cluster(3)
    everyone = rendezvous.members(workers)
    with started((workers, "worker", 0, 20)) as first:
        with connect(everyone["worker 0"]) as early:  # worker 1, which is stopped ...
            early.sendall(rendezvous.encode(rendezvous.hello(everyone, "worker 1")))
            assert rendezvous.decode(early.makefile("rb").readline()).keys() == {"missing"}
        assert outcome((workers, "worker", 1, 20), (workers, "worker", 2, 20)) == [None] * 2  # ... and started again
    assert first == [None]


def test_a_chief_is_the_first_and_an_evaluator_does_not_matter():
    jobs = {job: [address] for job, address in zip(("worker", "evaluator", "chief"), addresses(3), strict=True)}
    assert list(rendezvous.members(jobs)) == ["chief 0", "worker 0"]
    assert outcome((jobs, "worker", 0, 20), (jobs, "chief", 0, 20)) == [None] * 2
    assert rendezvous.meet(jobs, "evaluator", 0, 20) is None


def test_one_worker_waits_for_nobody():
    assert rendezvous.meet({"worker": ["no-such-host.invalid:1"]}, "worker", 0, 20) is None


def test_who_is_missing():
    workers = cluster(4)
    message = (f"worker 2 at {workers['worker'][2]}, worker 3 at {workers['worker'][3]} did not start within 2 s: "
               "start it, or correct TF_CONFIG; KERAS_TRICKS_TIMEOUT changes how long to wait.")
    assert outcome((workers, "worker", 0, 2), (workers, "worker", 1, 20)) == [message, message]


def test_the_first_is_missing():
    workers = cluster(2)
    (message,) = outcome((workers, "worker", 1, 1))
    assert message.startswith(f"worker 0 at {workers['worker'][0]} did not answer within 1 s: start it")


def test_the_log_says_for_whom(caplog, monkeypatch):
    monkeypatch.setattr(rendezvous, "NOTICE", 0)
    workers = cluster(3)
    with caplog.at_level("INFO", logger="absl"):
        outcome((workers, "worker", 0, 2), (workers, "worker", 1, 20))
    lines = [record.getMessage() for record in caplog.records]
    assert f"waiting for worker 1 at {workers['worker'][1]}, worker 2 at {workers['worker'][2]}" in lines
    assert lines.count(f"waiting for worker 2 at {workers['worker'][2]}") == 2, "by both who wait"


def test_another_cluster():
    workers = cluster(3)
    other = {"worker": [*workers["worker"][:2], "elsewhere:2222"]}
    messages = outcome((workers, "worker", 0, 20), (other, "worker", 1, 20))
    assert messages[0] == messages[1]
    for words in ("worker 0 and worker 1 (on 127.0.0.1) read different clusters", workers["worker"][2],
                  "elsewhere:2222", "same `cluster` in TF_CONFIG"):
        assert words in messages[0]


def test_a_worker_started_twice():
    workers = cluster(3)
    messages = outcome((workers, "worker", 0, 20), (workers, "worker", 1, 20), (workers, "worker", 1, 20))
    assert messages[0] == messages[1] == messages[2]
    assert "Two processes say they are worker 1, on 127.0.0.1 and on 127.0.0.1" in messages[0]
    assert "`index` in TF_CONFIG" in messages[0]


@pytest.mark.parametrize("index", [0, 1])
def test_a_port_that_is_taken(index):
    workers = cluster(2)
    host, port = rendezvous.split(workers["worker"][index])
    with socket.create_server((host, port)), pytest.raises(UserError, match=f"worker {index} cannot listen .* {port}"):
        rendezvous.meet(workers, "worker", index, 1)


def test_a_port_that_is_taken_for_a_moment_only():
    workers = cluster(2)
    taken = socket.create_server(rendezvous.split(workers["worker"][1]))  # as by a twin that looks whether it is free
    threading.Timer(rendezvous.RETRY / 3, taken.close).start()
    assert outcome((workers, "worker", 0, 20), (workers, "worker", 1, 20)) == [None] * 2


STRANGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\xff\n",
    b"[" * 4000 + b"\n",
    b"x" * 100_000,
    b"7\n",
    b'{"task": "worker 1"}\n',
    b'{"task": "worker 1", "digest": 7, "cluster": ""}\n',
    b'{"task": "worker 1\\u001b[2J", "digest": "", "cluster": ""}\n',
    b'{"task": "worker 1", "digest": "", "cluster": []}\n',
    b"",
]


def test_strangers_are_ignored():
    workers = cluster(2)
    address = workers["worker"][0]
    with contextlib.ExitStack() as connections, started((workers, "worker", 0, 20)) as first:
        for words in STRANGE * 10:  # more than are let in at a time
            stranger = connections.enter_context(connect(address))
            with contextlib.suppress(OSError):  # it may be shown the door while it speaks
                stranger.sendall(words)
        assert outcome((workers, "worker", 1, 20)) == [None]
    assert first == [None]


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x06\x04", b"y" * 100_000, b"",
                                   b'{"status": "up"}\n' * 100])
def test_something_else_answers(words):
    workers = cluster(2)
    with socket.create_server(rendezvous.split(workers["worker"][0])) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(words)

        threading.Thread(target=answer, daemon=True).start()
        (message,) = outcome((workers, "worker", 1, 1))
        assert "worker 0 at" in message and "something else listens there" in message
        server.shutdown(socket.SHUT_RDWR)


def test_messages_stay_within_a_line():
    """A thousand workers, or a name out of all bounds, still fit into what is read."""
    everyone = {f"worker {i}": f"{'h' * 60}{i}:2222" for i in range(1000)}
    said = rendezvous.encode(rendezvous.hello(everyone, "worker 1"))
    assert len(said) < rendezvous.LINE and rendezvous.is_hello(rendezvous.decode(said))
    assert len(rendezvous.listed(everyone, everyone)) <= rendezvous.SHOWN


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
