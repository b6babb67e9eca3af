"""Workers meet before TensorFlow joins them, so that one that never starts is named instead of waited for.

TensorFlow waits without end for a worker that is not there, and lets no other Python thread run meanwhile. So before it
starts, the first worker listens on its own port, which TensorFlow takes over afterwards. The others say hello to it and
go on when it has heard from all of them:

    other -> first    {"task": "worker 1", "digest": "9f86d081884c", "cluster": "..."}
    first -> other    {"missing": "worker 2 at host3:2222"}, every second
    first -> other    {"go": true} or {"error": "..."}; then the other closes the connection, and the first after it,
                      so that the port is free at once

Whoever reaches the port could say hello, as whoever reaches TensorFlow's port afterwards could run code: workers belong
in a private network. Of anyone it reads one line of at most 4 kB; who says anything else is ignored.
"""

import hashlib
import json
import logging
import os
import selectors
import socket
import time

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout

log = logging.getLogger("absl")

JOBS = ("chief", "worker")  # in TensorFlow's order; an evaluator or a parameter server takes no part in the steps
NOTICE = 10  # seconds of silent waiting before the log says for whom
BEAT = 1  # seconds between two words of the first worker to those that wait with it
SILENCE = 10  # seconds without a word after which a connection is given up
RETRY = 0.3  # seconds between two attempts to reach the first worker
LINE = 4096  # bytes
SHOWN = 500  # characters of a list or a cluster in a message
STRANGERS = 64  # connections that have not said hello, at a time


def meet(cluster, task_type, task_id, patience=None):
    """Returns when every worker of the cluster has called it. Does nothing for a single worker.

    Args:
        cluster: dict, addresses of each job: `{"worker": ["host1:2222", "host2:2222"]}`.
        task_type, task_id: the job and the index in it of this process.
        patience: seconds > 0. How long the first worker waits for all others, and another for a sign of life of the
            first. Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.

    Raises:
        UserError: a worker that does not start in time, that reads another cluster, or that was started twice; this
            worker's port is taken.
    """
    everyone, me = members(cluster), f"{task_type} {task_id}"
    patience = default_timeout() if patience is None else patience
    if len(everyone) < 2 or me not in everyone:
        return
    if me == next(iter(everyone)):
        with _listener(me, everyone[me]) as listener:
            _First(everyone, patience, listener).gather()
    else:
        _see_that_port_is_free(me, everyone[me])
        _join(everyone, me, patience)


# --- words ------------------------------------------------------------------------------------------------------


def members(cluster):
    """Name -> address of all that train together, the first one first: `{"worker 0": "host1:2222", ...}`."""
    return {f"{job} {index}": address for job in JOBS for index, address in enumerate(cluster.get(job, ()))}


def split(address):
    """`"host:2222"` -> `("host", 2222)`. Raises `ValueError` for a port that is no number."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def hello(everyone, me):
    """What `me` says to the first worker, a dict of strings."""
    text = json.dumps(everyone)
    return {"task": me, "digest": hashlib.sha256(text.encode()).hexdigest(), "cluster": _short(text)}


def encode(message):
    return json.dumps(message).encode() + b"\n"


def decode(line):
    """The dict in one line, its values true or printable strings; `None` for anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    plain = all(value is True or (isinstance(value, str) and value.isprintable()) for value in message.values())
    return message if plain else None


def is_hello(message):
    """Whether a decoded line names a task, a digest and a cluster."""
    return message is not None and all(isinstance(message.get(key), str) for key in ("task", "digest", "cluster"))


def listed(names, everyone):
    """`"worker 1 at host2:2222, worker 2 at host3:2222"`."""
    return _short(", ".join(f"{name} at {everyone[name]}" for name in names))


def too_late(who, what, patience):
    return UserError(f"{who} did not {what} within {patience:g} s: start it, or correct TF_CONFIG; "
                     "KERAS_TRICKS_TIMEOUT changes how long to wait.")


def _short(text):
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class _Notice:
    """Logs for whom this worker waits: after 10 s, and when that changes."""

    def __init__(self):
        self.start, self.said = time.monotonic(), None

    def __call__(self, missing):
        if missing != self.said and time.monotonic() - self.start >= NOTICE:
            log.info("waiting for %s", missing)
            self.said = missing


# --- the first worker -------------------------------------------------------------------------------------------


def _listener(me, address):
    """A socket that listens on all addresses of this machine, as TensorFlow will."""
    port = split(address)[1]
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        # Python sets SO_REUSEADDR: a worker that has just ended does not keep the port.
        return socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=STRANGERS)
    except OSError as error:
        raise UserError(f"{me} cannot listen on its port {port} ({os.strerror(error.errno)}): end what uses it, or "
                        f"give {me} another port in TF_CONFIG.") from None


def _see_that_port_is_free(me, address):
    """The others only learn that TensorFlow can have their port. A twin of this worker may look at the same moment."""
    try:
        _listener(me, address).close()
    except UserError:
        time.sleep(RETRY)
        _listener(me, address).close()


class _Guest:
    """A connection to the first worker. `name` is `None` until it has said hello."""

    def __init__(self, connection, host):
        connection.setblocking(False)
        self.connection, self.host = connection, host
        self.name, self.heard, self.since = None, b"", time.monotonic()


class _First:
    """The first worker: hears all others, then sends them off."""

    def __init__(self, everyone, patience, listener):
        self.everyone, self.patience, self.listener = everyone, patience, listener
        self.me, *self.others = everyone
        self.hello = hello(everyone, self.me)
        self.guests = []
        self.selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ)

    def gather(self):
        """Returns when all others have been sent off. Tells them of an error before raising it."""
        try:
            self._wait_for_all()
            self._send_off({"go": True})
        except UserError as error:
            self._send_off({"error": str(error)})
            raise
        finally:
            for guest in list(self.guests):
                self._drop(guest)
            self.selector.close()

    def _wait_for_all(self):
        notice, said, told = _Notice(), None, 0.0
        deadline = time.monotonic() + self.patience
        while missing := [name for name in self.others if name not in [guest.name for guest in self.guests]]:
            now = time.monotonic()
            text = listed(missing, self.everyone)
            if now >= deadline:
                raise too_late(text, "start", self.patience)
            notice(text)
            if text != said or now - told >= BEAT:
                said, told = text, now
                self._tell({"missing": text})
            for guest in self._strangers():
                if now - guest.since > SILENCE:
                    self._drop(guest)
            self._serve(min(BEAT, deadline - now))

    def _send_off(self, message):
        """The last word to everyone. They close their ends first, so that no connection stays behind on the port."""
        # Nobody may find this door open when TensorFlow has already started elsewhere.
        self.selector.unregister(self.listener)
        self.listener.close()
        for guest in self._strangers():
            self._drop(guest)
        self._tell(message)
        deadline = time.monotonic() + SILENCE
        while self.guests and (left := deadline - time.monotonic()) > 0:
            self._serve(left)

    def _serve(self, seconds):
        for key, _ in self.selector.select(seconds):
            if key.fileobj is self.listener:
                self._accept()
            elif key.data in self.guests:
                self._read(key.data)

    def _accept(self):
        try:
            connection, address = self.listener.accept()
        except OSError:  # it left before it was let in
            return
        if len(strangers := self._strangers()) >= STRANGERS:
            self._drop(strangers[0])
        self.guests.append(_Guest(connection, address[0].removeprefix("::ffff:")))
        self.selector.register(connection, selectors.EVENT_READ, self.guests[-1])

    def _read(self, guest):
        try:
            data = guest.connection.recv(LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # it left; a worker that was waiting is missing again
            return self._drop(guest)
        if guest.name is not None:  # nothing more is asked of it
            return
        guest.heard += data
        line, end, _ = guest.heard.partition(b"\n")
        if end or len(line) > LINE:
            message = decode(line) if len(line) <= LINE else None
            self._welcome(guest, message) if is_hello(message) else self._drop(guest)

    def _welcome(self, guest, message):
        name = _short(message["task"])
        if message["digest"] != self.hello["digest"]:
            guest.name = name
            raise UserError(f"{self.me} and {name} (on {guest.host}) read different clusters: {self.me} "
                            f"{self.hello['cluster']}, {name} {_short(message['cluster'])}. Give all workers the same "
                            "`cluster` in TF_CONFIG.")
        if name not in self.others:
            return self._drop(guest)
        twin = next((other for other in self.guests if other.name == name), None)
        guest.name = name
        if twin is not None:
            raise UserError(f"Two processes say they are {name}, on {twin.host} and on {guest.host}: start it once, or "
                            "give each its own `index` in TF_CONFIG.")

    def _strangers(self):
        return [guest for guest in self.guests if guest.name is None]

    def _tell(self, message):
        line = encode(message)
        for guest in [guest for guest in self.guests if guest.name is not None]:
            try:
                whole = guest.connection.send(line) == len(line)
            except OSError:
                whole = False
            if not whole:
                self._drop(guest)

    def _drop(self, guest):
        self.guests.remove(guest)
        self.selector.unregister(guest.connection)
        guest.connection.close()


# --- the others -------------------------------------------------------------------------------------------------


def _join(everyone, me, patience):
    """Says hello to the first worker, again and again until it answers, and stays until it says go."""
    first, address = next(iter(everyone.items()))
    notice, strange = _Notice(), False
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        try:
            with (socket.create_connection(split(address), timeout=min(SILENCE, left)) as connection,
                  connection.makefile("rb") as lines):
                strange = True  # until it says a word we know
                connection.sendall(encode(hello(everyone, me)))
                while line := lines.readline(LINE):
                    message = decode(line) or {}
                    strange = message.keys() not in ({"go"}, {"error"}, {"missing"})
                    if strange:
                        break
                    if "go" in message:
                        return
                    if "error" in message:
                        raise UserError(message["error"])
                    notice(message["missing"])
                    deadline = time.monotonic() + patience  # it is there, and counts its own time
                    connection.settimeout(SILENCE)
        except ConnectionRefusedError:
            strange = False
        except OSError:  # not there yet, or no longer: it may be started again
            pass
        notice(f"{first} at {address}")
        time.sleep(RETRY)
    if strange:
        raise UserError(f"{first} at {address} did not answer within {patience:g} s, but something else listens there: "
                        f"end an older run, start {first}, or correct TF_CONFIG.")
    raise too_late(f"{first} at {address}", "answer", patience)
