"""A tf.data service: other machines read, decode and augment; this one puts their batches in order and trains on them.

    dispatcher   gives the number of each batch to one worker
    workers      make whole batches: read, decode, crop, flip, colour, RandAugment
    trainer      puts them in order, mixes and normalizes; evaluates by itself

A batch is a function of its number (`pipeline.BatchRange`), so it does not matter who makes it, and the bits are those
of a run without the service. The trainer makes a batch itself when it was lost with a worker that died, and when it
holds an image that looks broken, which a worker cannot judge (`remote_split`).

Whoever reaches the port of a dispatcher or a worker can run TensorFlow operations there, reading and writing files
among them: keep them in a private network, as `tf.data.experimental.service` says.
"""

import contextlib
import dataclasses
import logging
import math
import queue
import socket
import threading
import time

import tensorflow as tf

from keras_tricks.data.remote_split import remote_split
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout

log = logging.getLogger("absl")

PORT = 5050
NOTICE = 10  # seconds of silence after which the log says what is awaited
EARLY_BATCHES, EARLY_BYTES = 16, 2**32  # so much may wait for an earlier batch, the larger of the two
PART_BYTES = 2**23  # a batch travels in tensors of this size: memory for larger ones is asked of the system each time
ENDED = object()  # arrives after the last batch
NO_SERVICE = ("Nothing listens at the data service's address {} ({}). Start it there with `keras-tricks data serve`, "
              "or correct --data-service.")
NO_DISPATCHER = ("Nothing listens at the dispatcher's address {} ({}). Start it there with `keras-tricks data serve`, "
                 "or correct --dispatcher.")
SERVICE_ENDED = "The data service at {} has ended ({}). Start it again, and the run with --resume."


def connect(data, source):
    """The `Service` a recipe's `data.service` names, for the training split of a source.

    Raises:
        UserError: nobody listens at the address, or the source cannot be read by other processes.
    """
    split = remote_split(data, source)
    check_connection(data.service)
    return Service(data.service, split)


class Service:
    """Batches made by the workers of a tf.data service, in order.

    Args:
        address: `"grpc://host:port"` of the dispatcher.
        split: the training split as workers read it, see `remote_split`.
        timeout: seconds > 0 of silence before it is an error. A batch is made here when it has not come a fifth of
            that after a later one. Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.

    Attributes:
        error: what ended an iteration, or `None`. TensorFlow only passes on its text.
    """

    def __init__(self, address, split, timeout=None):
        self.address, self.split, self.error = address, split, None
        self.timeout = default_timeout() if timeout is None else timeout

    def batches(self, local, remote):
        """The batches of some steps, as `local.host_batches` returns them.

        Args:
            local, remote: the `pipeline.BatchRange` of these steps in this process and in the workers'.

        Returns:
            `tf.data.Dataset` of `(step, intact, images, labels)`, in order.
        """
        options = tf.data.Options()
        options.deterministic = True
        made = remote.host_batches(tf.data.Dataset.range(remote.steps.start, remote.steps.stop)).with_options(options)
        images = made.element_spec[2]
        size = math.prod(images.shape) * images.dtype.size
        counts = near_equal_parts(images.shape[0], -(-size // PART_BYTES))

        def divide(step, intact, images, labels):
            return step, intact, tuple(tf.split(images, counts)), labels

        @tf.function
        def make(step):
            return divide(*local.host_batches(tf.data.Dataset.from_tensors(step)).get_single_element())

        made = made.map(divide)

        def generate():
            with contextlib.closing(_Receiver(self, made)) as receiver:
                try:
                    yield from reorder(local.steps, receiver.receive, lambda step: make(tf.constant(step, tf.int64)),
                                       self.timeout / 5, max(EARLY_BATCHES, EARLY_BYTES // size))
                except Exception as error:
                    self.error = error
                    raise

        received = tf.data.Dataset.from_generator(generate, output_signature=made.element_spec)
        return received.map(lambda step, intact, parts, labels: (step, intact, tf.concat(parts, 0), labels))


def near_equal_parts(total, parts):
    """`total` as a list of as many integers that differ by one at most: 10 in 4 parts is [2, 3, 2, 3]."""
    parts = min(parts, total)
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def reorder(steps, receive, make, timeout, max_ahead):
    """Yields one batch for each of `steps`, in order, of those that arrive in any order.

    Args:
        steps: `range`.
        receive: function of seconds, or of `None` for no limit. Returns the next batch to arrive, a tuple that begins
            with its step and whether its images are intact; `None` when none has arrived in that time, `ENDED` after
            the last.
        make: function of a step. Returns the same batch, made in this process.
        timeout: seconds after which a missing batch is made here, if later ones have arrived.
        max_ahead: number of later ones at which it is made here.
    """
    pending, ended = {}, False
    for step in steps:
        began = time.monotonic()
        while step not in pending:
            left = timeout - (time.monotonic() - began) if pending else None
            if ended or (pending and (left <= 0 or len(pending) >= max_ahead)):
                log.warning("batch %d of the data service is lost or late (%d later ones have arrived): made here. Did "
                            "a worker end?", step, len(pending))
                pending[step] = make(step)
                break
            batch = receive(left)
            if batch is ENDED:
                ended = True
            elif batch is not None and int(batch[0]) >= step:  # else it came late and was made here
                pending[int(batch[0])] = batch
        batch = pending.pop(step)
        yield batch if bool(batch[1]) else make(step)


class _Receiver:
    """Batches in the order in which they arrive. A thread reads them, so that waiting can time out."""

    def __init__(self, service, dataset):
        self.service, self.dataset = service, dataset
        self.queue, self.closed = queue.Queue(maxsize=2), threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        self.closed.set()

    def _read(self):
        try:
            distribute = tf.data.experimental.service.distribute(
                tf.data.experimental.service.ShardingPolicy.DYNAMIC, self.service.address, compression=None
            )
            for batch in self.dataset.apply(distribute):
                self._put(batch)
                if self.closed.is_set():
                    return
            self._put(ENDED)
        except Exception as error:
            self._put(error)

    def _put(self, item):
        while not self.closed.is_set():
            with contextlib.suppress(queue.Full):
                return self.queue.put(item, timeout=1)

    def receive(self, seconds=None):
        """The next batch, `ENDED`, or `None` when none came in `seconds`. Raises what went wrong, silence included."""
        asked, timeout = time.monotonic(), self.service.timeout
        limit = timeout if seconds is None else min(seconds, timeout)
        while (left := limit - (time.monotonic() - asked)) > 0:
            try:
                item = self.queue.get(timeout=min(NOTICE, left))
            except queue.Empty:
                self._notice(time.monotonic() - asked)
                continue
            if isinstance(item, tf.errors.NotFoundError):
                raise UserError("A worker of the data service cannot read a file: the data must lie at the same path "
                                f"on every worker ({item.message.splitlines()[0]}).") from item
            if isinstance(item, Exception):
                raise item
            return item
        if seconds is not None:
            return None
        raise UserError(f"The data service at {self.service.address} has sent nothing for {timeout:g} s "
                        "(KERAS_TRICKS_TIMEOUT): no worker is there or can be reached. Start one with `keras-tricks "
                        f"data serve --dispatcher {self.service.address}`, and the run again, with --resume.")

    def _notice(self, seconds):
        check_connection(self.service.address, SERVICE_ENDED)
        if seconds >= NOTICE:
            log.info("no batch from %s for %.0f s; a worker joins it with keras-tricks data serve --dispatcher %s",
                     self.service.address, seconds, self.service.address)


# --- addresses --------------------------------------------------------------------------------------------------


def host_and_port(address):
    """`"grpc://host:5050"` or `"host:5050"` -> `("host", 5050)`."""
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"The address of a data service is grpc://host:port. Received: {address!r}")
    return host.strip("[]"), int(port)


def check_connection(address, message=NO_SERVICE):
    """This machine's own address, as seen from `address`. Raises `UserError` when nobody listens there."""
    try:
        with socket.create_connection(host_and_port(address), timeout=5) as connection:
            return connection.getsockname()[0]
    except OSError as error:
        raise UserError(message.format(address, error.strerror or error)) from None


def own_address():
    """This machine's address in its network, or `"localhost"` without one. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(("10.255.255.255", 1))
            return connection.getsockname()[0]
        except OSError:
            return "localhost"


# --- serving ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Serving:
    """A running dispatcher or worker; it ends when this object does. `address` is the dispatcher's."""

    address: str
    servers: tuple


def serve(port=None, dispatcher=None, host=None):
    """Starts a dispatcher and one worker in this process, or a worker that joins a dispatcher.

    Args:
        port: integer, `0` for any free one. Defaults to `5050` for a dispatcher, any free one for a worker.
        dispatcher: `"grpc://host:port"` of the dispatcher to join. Defaults to `None`, start one.
        host: name or address at which trainers reach this machine. Defaults to its address in the network.

    Returns:
        A `Serving`; keep it.

    Raises:
        UserError: the port is taken, or nobody listens at `dispatcher`.
    """
    service = tf.data.experimental.service
    servers = []
    if dispatcher is None:
        host = host or own_address()
        servers.append(service.DispatchServer(service.DispatcherConfig(port=_free(PORT if port is None else port))))
        _, port = host_and_port(servers[0].target)
        address, local, port = f"grpc://{host}:{port}", f"localhost:{port}", 0
    else:
        seen = check_connection(dispatcher, NO_DISPATCHER)
        host = host or seen
        address, local, port = dispatcher, dispatcher.removeprefix("grpc://"), _free(port or 0)
    worker = service.WorkerConfig(dispatcher_address=local, worker_address=f"{host}:%port%", port=port)
    servers.append(service.WorkerServer(worker))
    return Serving(address, tuple(servers))


def _free(port):
    """The port itself. TensorFlow would share a taken one in silence."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
        return port
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Port {port} cannot be used ({reason}): give --port another one, or 0 for any.") from None
