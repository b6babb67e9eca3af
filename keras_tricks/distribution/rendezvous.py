"""A readiness check before TensorFlow joins the workers: all have started, and all train the same experiment.

TensorFlow waits without a time limit for a missing worker, and blocks all Python threads meanwhile. So the first worker
listens on its port before TensorFlow takes it over, and the others register there, in JSON lines of at most 64 kB:

    other -> first    {"task": "worker 1", "digest": "9f86...", "cluster": "...", "schedule.batch_size": "64", ...}
    first -> other    {"missing": "worker 2 at host3:2222"}, three times a second
    first -> other    {"go": ""} or {"error": "..."}; the other closes the connection first, which frees the port

`multiprocessing.connection` could not do it: its `accept` and `recv_bytes` have no time limit, so a connection that
sends nothing, or half a message, would block the check.

Anyone who reaches the port can register, as anyone who reaches TensorFlow's port later can run code: keep workers in a
private network. A connection that sends anything but a registration is closed.
"""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import socket
import time

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout

log = logging.getLogger("absl")

JOBS = ("chief", "worker")  # in TensorFlow's order; evaluators and parameter servers do not take part in the steps
LOG_AFTER = 10  # seconds of waiting before the log names the missing workers
HEARTBEAT_INTERVAL = 0.3  # seconds between two messages of the first worker, and between two attempts to reach it
READ_TIMEOUT = 10  # seconds without a message before a connection is closed
MAX_MESSAGE = 65536  # bytes
MAX_PENDING = 64  # connections that have not registered; the oldest is closed for a new one
MAX_VALUE = 400  # characters of a value that are sent
MAX_LISTED = 8  # names in a message


def wait_for_workers(cluster, task_type, task_id, experiment=None, timeout=None):
    """Returns when every worker of the cluster has called it. Does nothing for a single worker.

    Args:
        cluster: dict, addresses of each job: `{"worker": ["host1:2222", "host2:2222"]}`.
        task_type, task_id: the job and the index in it of this process.
        experiment: dict of str to str, what all workers must have in common, such as the values of a recipe. Defaults
            to `None`, the cluster alone.
        timeout: seconds > 0. How long the first worker waits for all others, and another for an answer of the first.
            Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.

    Raises:
        UserError: a worker did not start in time, has another cluster or experiment, or was started twice; the port of
            this worker is taken.
    """
    addresses, name = members(cluster), f"{task_type} {task_id}"
    timeout = default_timeout() if timeout is None else timeout
    if len(addresses) < 2 or name not in addresses:
        return
    registration = registration_message(addresses, name, experiment or {})
    with _listener(name, addresses[name]) as listener:
        if name == next(iter(addresses)):
            return _run(_Coordinator(addresses, registration).run(listener, timeout))
    _join(addresses, registration, timeout)  # the port of this worker is free


def members(cluster):
    """Name -> address of all that train together, the first one first: `{"worker 0": "host1:2222", ...}`."""
    return {f"{job} {index}": address for job in JOBS for index, address in enumerate(cluster.get(job, ()))}


def parse_address(address):
    """`"host:2222"` -> `("host", 2222)`. Raises `ValueError` for a port that is not a number."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def registration_message(addresses, name, experiment):
    """A dict of strings: the worker, a digest of the cluster and the experiment, and both, unless they are too long."""
    shared = {"cluster": json.dumps(addresses), **experiment}
    message = {"task": name, "digest": _digest(json.dumps(shared, sort_keys=True))}
    whole = {**{key: _short(value) for key, value in shared.items()}, **message}
    return whole if len(encode(whole)) <= MAX_MESSAGE else message


def encode(message):
    return json.dumps(message).encode() + b"\n"


def decode(line):
    """The dict of printable strings in one line, an empty dict for anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    texts = [text for pair in message.items() for text in pair] if isinstance(message, dict) else [None]
    return message if all(isinstance(text, str) and text.isprintable() for text in texts) else {}


def difference(theirs, ours):
    """A sentence on what differs between the registrations of two workers."""
    name, other = _short(theirs["task"]), ours["task"]
    keys = [key for key in {**ours, **theirs} if key not in ("task", "digest") and ours.get(key) != theirs.get(key)]
    if not keys or "cluster" not in ours or "cluster" not in theirs:  # too long to be sent
        return f"{name} and {other} train different experiments: start all workers with the same command."
    values = [_short(side.get(keys[0], "missing")) for side in (theirs, ours)]
    more = f" ({_listed(keys[1:])} differ too)" if keys[1:] else ""
    same = "`cluster` in TF_CONFIG" if keys[0] == "cluster" else "recipe and package versions"
    return (f"{name} trains with {_short(keys[0])} {values[0]}, {other} with {values[1]}{more}: start all workers with "
            f"the same {same}.")


def timeout_error(who, what, timeout):
    return UserError(f"{who} did not {what} within {timeout:g} s: start it, or correct TF_CONFIG; KERAS_TRICKS_TIMEOUT "
                     "changes how long to wait.")


def _listed(texts):
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(map(_short, texts[:MAX_LISTED])) + more


def _short(value):
    """A printable text of limited length that differs where the whole one does."""
    value = value if value.isprintable() else ascii(value)
    return value if len(value) <= MAX_VALUE else f"{value[: MAX_VALUE - 22]}... (sha256 {_digest(value)[:8]})"


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _listener(name, address):
    """A socket that listens on all addresses of this machine, as TensorFlow will."""
    port, both = parse_address(address)[1], socket.has_dualstack_ipv6()
    for last_attempt in (False, True):  # a duplicate of this worker may check the port at the same moment
        try:
            # Python sets SO_REUSEADDR: a worker that has just ended does not keep the port.
            return socket.create_server(("", port), family=socket.AF_INET6 if both else socket.AF_INET,
                                        dualstack_ipv6=both, backlog=MAX_PENDING)
        except OSError as error:
            if last_attempt:
                raise UserError(f"{name} cannot listen on its port {port} ({os.strerror(error.errno)}): end what uses "
                                f"it, or give {name} another port in TF_CONFIG.") from None
        time.sleep(HEARTBEAT_INTERVAL)


def _run(coroutine):
    """Runs a coroutine to its end, in a thread where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


class _Coordinator:
    """The first worker: registers all others, then lets them start together."""

    def __init__(self, addresses, registration):
        self.addresses, self.registration = addresses, registration
        self.connections = {}  # writer -> name of its worker, None while it is pending; the oldest first
        self.error = None

    async def run(self, listener, timeout):
        """Returns when all others may start. Sends them an error before raising it."""
        server = await asyncio.start_server(self._serve, sock=listener, limit=MAX_MESSAGE)
        start, last_message = time.monotonic(), None
        while (missing := self._missing()) and self.error is None:
            if time.monotonic() - start >= timeout:
                self.error = timeout_error(missing, "start", timeout)
                break
            last_message = _log_missing(missing, last_message, start)
            self._broadcast({"missing": missing})
            await asyncio.sleep(HEARTBEAT_INTERVAL)
        server.close()  # before the last message: nobody may register after TensorFlow has started elsewhere
        error, registered = self.error, {writer for writer, name in self.connections.items() if name is not None}
        self._broadcast({"go": ""} if error is None else {"error": str(error)})
        start = time.monotonic()
        while registered & self.connections.keys() and time.monotonic() - start < READ_TIMEOUT:
            await asyncio.sleep(0.01)  # the others close first
        for writer in list(self.connections):
            self._drop(writer)
        if error is not None:
            raise error

    async def _serve(self, reader, writer):
        """One connection, until it is closed. A registered worker sends nothing more."""
        pending = [other for other, name in self.connections.items() if name is None]
        if len(pending) >= MAX_PENDING:
            self._drop(pending[0])
        self.connections[writer] = None
        with contextlib.suppress(OSError, ValueError, asyncio.TimeoutError):
            self._register(writer, decode(await asyncio.wait_for(reader.readline(), READ_TIMEOUT)))
            while self.connections.get(writer) and await reader.read(MAX_MESSAGE):
                pass
        self._drop(writer)

    def _register(self, writer, message):
        name = message.get("task")
        duplicate = next((other for other, registered in self.connections.items() if registered == name), None)
        if writer not in self.connections or name is None or "digest" not in message:
            return
        if message["digest"] != self.registration["digest"]:
            self.error = UserError(difference(message, self.registration))
        elif name not in list(self.addresses)[1:]:
            return
        elif duplicate is not None:
            hosts = [w.get_extra_info("peername")[0].removeprefix("::ffff:") for w in (duplicate, writer)]
            self.error = UserError(f"Two processes are {name}, on {hosts[0]} and on {hosts[1]}: start it once, or give "
                                   "each its own `index` in TF_CONFIG.")
        self.connections[writer] = name

    def _missing(self):
        """`"worker 1 at host2:2222, worker 2 at host3:2222"`."""
        _, *others = self.addresses.items()
        return _listed([f"{name} at {address}" for name, address in others if name not in self.connections.values()])

    def _broadcast(self, message):
        for writer, name in self.connections.items():
            if name is not None:
                writer.write(encode(message))

    def _drop(self, writer):
        self.connections.pop(writer, None)
        writer.close()


def _log_missing(missing, last_message, start):
    """Logs for whom this worker waits, after 10 s and when that changes. Returns what was logged last."""
    if missing == last_message or time.monotonic() - start < LOG_AFTER:
        return last_message
    log.info("waiting for %s", missing)
    return missing


def _join(addresses, registration, timeout):
    """Registers with the first worker, again and again until it answers. Returns when this worker may start."""
    first = "{} at {}".format(*next(iter(addresses.items())))
    address = parse_address(next(iter(addresses.values())))
    unknown, last_message, start = False, None, time.monotonic()
    deadline = start + timeout
    while (left := deadline - time.monotonic()) > 0:
        last_message = _log_missing(first, last_message, start)
        try:
            with (socket.create_connection(address, timeout=min(READ_TIMEOUT, left)) as connection,
                  connection.makefile("rb") as lines):
                unknown = True  # until it sends a known message
                connection.sendall(encode(registration))
                while "missing" in (message := decode(lines.readline(MAX_MESSAGE))):
                    unknown = False
                    last_message = _log_missing(message["missing"], last_message, start)
                    deadline = time.monotonic() + timeout  # the first worker is there and has a time limit
                    connection.settimeout(READ_TIMEOUT)
                if "go" in message:
                    return
                if "error" in message:
                    raise UserError(message["error"])
        except ConnectionRefusedError:
            unknown = False
        except OSError:
            pass  # not there yet, or no longer: it may be started again
        time.sleep(HEARTBEAT_INTERVAL)
    if unknown:
        raise UserError(f"{first} did not answer within {timeout:g} s, but something else listens there: end an older "
                        "run, start the worker, or correct TF_CONFIG.")
    raise timeout_error(first, "answer", timeout)
