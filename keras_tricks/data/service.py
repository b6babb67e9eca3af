"""A `tf.data` service: workers on other machines read, decode and augment; the trainer reorders and uses their batches.

    dispatcher   assigns the number of each batch to one worker
    workers      make whole batches: read, decode, crop, flip, colour, RandAugment
    trainer      reorders, mixes and normalizes them; evaluates without the service

A batch is a function of its number (`batch_range.BatchRange`), so any process can make it, and the bits equal those of
a run without the service. The trainer makes a batch itself if a worker died with it, or if it contains an image that
looks broken, which a worker cannot repair (`remote_split`).

Anyone who can connect to a dispatcher or a worker can run TensorFlow operations there, including ones that read and
write files. Keep both in a private network, as `tf.data.experimental.service` advises.
"""

import contextlib
import dataclasses
import logging
import math
import queue
import socket
import threading
import time
import typing

import tensorflow as tf

from keras_tricks.data.sources.remote_split import remote_split
from keras_tricks.data.sources.source import Source, Split
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout

log = logging.getLogger("absl")

PORT = 5050
LOG_INTERVAL = 10  # seconds without a batch after which the log reports the wait
MAX_PENDING_BATCHES, MAX_PENDING_BYTES = 16, 2**32  # batches that may wait for an earlier one: the larger of the two
PART_BYTES = 2**23  # batches are sent in tensors of this size: larger ones are allocated by the system each time
END_OF_DATA = object()  # received after the last batch
NO_SERVICE = ("Nothing listens at the data service's address {} ({}). Start it there with `keras-tricks data serve`, "
              "or correct --data-service.")
NO_DISPATCHER = ("Nothing listens at the dispatcher's address {} ({}). Start it there with `keras-tricks data serve`, "
                 "or correct --dispatcher.")
SERVICE_ENDED = "The data service at {} has ended ({}). Start it again and resume the run with --resume."


def connect(data: typing.Any, source: Source) -> "Service":
    """Connects to the service at a recipe's `data.service`, for the training split of a source.

    Raises:
        UserError: nothing listens at the address, or the source cannot be read by other processes.
    """
    split = dataclasses.replace(remote_split(data, source), labels=source.train.labels)
    check_connection(data.service)
    return Service(data.service, split)


class Service:
    """Batches made by the workers of a tf.data service, in order.

    Args:
        address: `"grpc://host:port"` of the dispatcher.
        split: the training split as workers read it, see `remote_split`.
        timeout: seconds > 0 without any batch before an error is raised. The trainer makes a batch itself when a fifth
            of this time has passed while later batches are pending. Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.

    Attributes:
        error: the exception that ended an iteration, or `None`. TensorFlow keeps only its message.
    """

    def __init__(self, address: str, split: Split, timeout: float | None = None) -> None:
        self.address, self.split, self.error = address, split, None
        self.timeout = default_timeout() if timeout is None else timeout

    def batches(self, local: typing.Any, remote: typing.Any) -> tf.data.Dataset:
        """The same batches as those of `local.host_batches`, made by the workers.

        Args:
            local, remote: the `batch_range.BatchRange` of the steps, for this process and for the workers.

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
                                       self.timeout / 5, max(MAX_PENDING_BATCHES, MAX_PENDING_BYTES // size))
                except Exception as error:
                    self.error = error
                    raise

        received = tf.data.Dataset.from_generator(generate, output_signature=made.element_spec)
        return received.map(lambda step, intact, parts, labels: (step, intact, tf.concat(parts, 0), labels))


def near_equal_parts(total: int, parts: int) -> list[int]:
    """Divides `total` into integers that differ by at most one: 10 in 4 parts is [2, 3, 2, 3]."""
    parts = min(parts, total)
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def reorder(steps, receive, make, timeout, max_ahead):
    """Reorders batches that arrive in any order: yields one batch for each of `steps`, in order.

    Args:
        steps: `range`.
        receive: function of a number of seconds, or of `None` for no limit. Returns the next batch to arrive, a tuple
            that starts with its step and whether its images are intact; `None` if none arrives in that time, and
            `END_OF_DATA` after the last one.
        make: function of a step that makes the same batch in this process.
        timeout: seconds after which a missing batch is made by `make`, if later ones are pending.
        max_ahead: number of pending batches at which a missing one is made by `make` at once.
    """
    pending, ended = {}, False
    for step in steps:
        start = time.monotonic()
        while step not in pending:
            left = timeout - (time.monotonic() - start) if pending else None
            if ended or (pending and (left <= 0 or len(pending) >= max_ahead)):
                log.warning("batch %d of the data service is lost or late (%d later ones have arrived): the trainer "
                            "makes it. Check that all workers are running.", step, len(pending))
                pending[step] = make(step)
                break
            batch = receive(left)
            if batch is END_OF_DATA:
                ended = True
            elif batch is not None and int(batch[0]) >= step:  # an earlier one was late and has been replaced
                pending[int(batch[0])] = batch
        batch = pending.pop(step)
        yield batch if bool(batch[1]) else make(step)


class _Receiver:
    """Receives batches in the order of their arrival. A thread reads them, so that waiting can time out."""

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
            self._put(END_OF_DATA)
        except Exception as error:
            self._put(error)

    def _put(self, item):
        while not self.closed.is_set():
            with contextlib.suppress(queue.Full):
                return self.queue.put(item, timeout=1)

    def receive(self, seconds=None):
        """The next batch, `END_OF_DATA`, or `None` if none arrives in `seconds`.

        Raises:
            UserError: a worker cannot read a file, or nothing arrives within the timeout of the service.
        """
        start, timeout = time.monotonic(), self.service.timeout
        limit = timeout if seconds is None else min(seconds, timeout)
        while (left := limit - (time.monotonic() - start)) > 0:
            try:
                item = self.queue.get(timeout=min(LOG_INTERVAL, left))
            except queue.Empty:
                self._log_waiting(time.monotonic() - start)
                continue
            if isinstance(item, (tf.errors.NotFoundError, tf.errors.PermissionDeniedError)):
                raise UserError("A worker of the data service cannot read a file: put the data at the same path on "
                                f"every worker ({item.message.splitlines()[0]}).") from item
            if isinstance(item, Exception):
                raise item
            return item
        if seconds is not None:
            return None
        raise UserError(f"The data service at {self.service.address} has sent nothing for {timeout:g} s "
                        "(KERAS_TRICKS_TIMEOUT): it has no worker, or none can be reached. Start one with "
                        f"`keras-tricks data serve --dispatcher {self.service.address}` and resume the run.")

    def _log_waiting(self, seconds):
        check_connection(self.service.address, SERVICE_ENDED)
        if seconds >= LOG_INTERVAL:
            log.info("no batch from %s for %.0f s; to add a worker: keras-tricks data serve --dispatcher %s",
                     self.service.address, seconds, self.service.address)


# --- addresses --------------------------------------------------------------------------------------------------


def host_and_port(address: str) -> tuple[str, int]:
    """`"grpc://host:5050"` or `"host:5050"` -> `("host", 5050)`."""
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"The address of a data service is grpc://host:port. Received: {address!r}")
    return host.strip("[]"), int(port)


def check_connection(address: str, message: str = NO_SERVICE) -> str:
    """Connects to `address` and returns the local address. Raises `UserError` if nothing listens there."""
    try:
        with socket.create_connection(host_and_port(address), timeout=5) as connection:
            return connection.getsockname()[0]
    except OSError as error:
        raise UserError(message.format(address, error.strerror or error)) from None


def local_address() -> str:
    """This machine's address in its network, or `"localhost"` without a network. Sends no data."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(("10.255.255.255", 1))
            return connection.getsockname()[0]
        except OSError:
            return "localhost"


# --- serving ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Serving:
    """A running dispatcher or worker, which stops when this object is deleted.

    Attributes:
        address: `"grpc://host:port"` of the dispatcher.
        servers: TensorFlow's servers.
    """

    address: str
    servers: tuple


def serve(port: int | None = None, dispatcher: str | None = None, host: str | None = None) -> Serving:
    """Starts a dispatcher and one worker in this process, or a worker that joins a dispatcher.

    Args:
        port: integer, `0` for any free port. Defaults to `5050` for a dispatcher, any free port for a worker.
        dispatcher: `"grpc://host:port"` of the dispatcher to join. Defaults to `None`: starts one.
        host: name or address at which trainers reach this machine. Defaults to its address in the network. The ports
            are open on all networks of the machine in any case, because TensorFlow cannot bind to one address.

    Returns:
        A `Serving`. Keep a reference to it.

    Raises:
        UserError: the port is taken, or nothing listens at `dispatcher`.
    """
    service = tf.data.experimental.service
    servers = []
    if dispatcher is None:
        host = host or local_address()
        port = _check_port_free(PORT if port is None else port)
        servers.append(service.DispatchServer(service.DispatcherConfig(port=port)))
        _, port = host_and_port(servers[0].target)
        address, local, port = f"grpc://{host}:{port}", f"localhost:{port}", 0
    else:
        reachable = check_connection(dispatcher, NO_DISPATCHER)
        host = host or reachable
        address, local, port = dispatcher, dispatcher.removeprefix("grpc://"), _check_port_free(port or 0)
    worker = service.WorkerConfig(dispatcher_address=local, worker_address=f"{host}:%port%", port=port)
    servers.append(service.WorkerServer(worker))
    return Serving(address, tuple(servers))


def _check_port_free(port):
    """Returns the port if it is free. TensorFlow would silently share a port that is taken."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
        return port
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Port {port} cannot be used ({reason}): give --port another one, or 0 for any.") from None
