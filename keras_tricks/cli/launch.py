"""run a command in several worker processes on this machine"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError

FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
GRACE_PERIOD = 15  # seconds in which the others may report the error of the first; then again before they are killed
POLL_INTERVAL = 0.05  # seconds


class WorkerFailed(UserError):
    """A worker ended with an error. `exit_code` is that of the worker, as a shell reports it."""

    def __init__(self, index, code, last_line):
        self.exit_code = code if code > 0 else 128 - code
        killed = "it was killed (SIGKILL), by hand or because memory was short" if code == -9 else ""
        cause = last_line.partition("keras-tricks: ")[2] or killed or last_line or "it printed no error"
        super().__init__(f"worker {index} ended with exit code {self.exit_code}: {cause}")


def add_arguments(parser):
    parser.add_argument("-n", "--workers", type=arguments.count(1), required=True, metavar="N",
                        help="start N processes, each with a different TF_CONFIG")
    parser.add_argument("words", nargs="...", metavar="-- COMMAND", help="command to run, such as: -- train quickstart")


def run(args):
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise UserError("launch needs a command after --, such as: keras-tricks launch -n 2 -- train quickstart")
    launch([sys.executable, "-m", "keras_tricks", *words], args.workers)


def launch(command, workers):
    """Runs a command in `workers` processes and prints their lines with the name of the worker.

    SIGINT, SIGTERM, SIGHUP and SIGUSR1 are forwarded. When a process fails, the others have 15 seconds to end. Then
    they receive SIGTERM, and 15 seconds later SIGKILL.

    Raises:
        WorkerFailed: a process ended with another exit code than 0. It describes the first one.
    """
    processes, printers, lock = [], [], threading.Lock()
    with _forwarded_signals(processes) as received:
        try:
            for index, config in enumerate(tf_configs(workers)):
                if received:
                    break
                processes.append(_start(command, config))
                printers.append([_Printer(index, stream, output, lock) for stream, output in
                                 ((processes[-1].stdout, sys.stdout), (processes[-1].stderr, sys.stderr))])
            failed = _wait(processes)
        finally:
            for process in processes:
                process.kill()  # does nothing to one that has ended
    for printer in (printer for pair in printers for printer in pair):
        printer.join(timeout=5)  # a process that it started may keep the stream open
    if failed is not None:
        raise WorkerFailed(failed, processes[failed].returncode, printers[failed][1].last_line)


def tf_configs(workers):
    """`TF_CONFIG` of each worker, as JSON text, with free ports of the loopback address."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(workers)]


def _start(command, config):
    # In a new session, so that Ctrl-C in the terminal reaches only this process, which forwards it once.
    return subprocess.Popen(
        command, env={**os.environ, "TF_CONFIG": config, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
        start_new_session=True)


def _wait(processes):
    """Waits until all processes have ended. Returns the index of the first one that failed, or `None`."""
    failed, deadline, signals = None, None, [signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)]
    while running := [process for process in processes if process.poll() is None]:
        if failed is None:
            failed = next((i for i, process in enumerate(processes) if process.returncode), None)
            deadline = time.monotonic() + GRACE_PERIOD
        elif time.monotonic() > deadline and signals:
            _send(running, signals.pop(0))
            deadline = time.monotonic() + GRACE_PERIOD
        time.sleep(POLL_INTERVAL)
    return failed if failed is not None else next((i for i, p in enumerate(processes) if p.returncode), None)


@contextlib.contextmanager
def _forwarded_signals(processes):
    """A context in which signals are forwarded to the processes. Yields the list of received signals."""
    received = []

    def forward(number, _):
        received.append(number)
        _send(processes, number)

    numbers = [getattr(signal, name) for name in FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, forward) for number in numbers
              if signal.getsignal(number) != signal.SIG_IGN}  # `nohup` ignores SIGHUP
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(processes, number):
    for process in processes:
        process.send_signal(number)  # does nothing to one that has ended


class _Printer(threading.Thread):
    """Prints each line of a stream with the name of its worker."""

    def __init__(self, index, stream, output, lock):
        super().__init__(daemon=True)
        self.prefix, self.stream, self.output, self.lock = f"worker {index}: ", stream, output, lock
        self.last_line = ""  # the last error of the program, or the last line
        self.start()

    def run(self):
        for line in self.stream:
            line = line.rstrip("\n")
            if line.startswith("keras-tricks: ") or not self.last_line.startswith("keras-tricks: "):
                self.last_line = line or self.last_line
            with self.lock:
                print(self.prefix + line, file=self.output, flush=True)
