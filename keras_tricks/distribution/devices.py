"""The devices of a run, behind one interface: TensorFlow's strategies, and global arrays on the other Keras backends.

    replicas            devices that share a batch, all processes together
    processes           how many processes there are; process_index, is_chief: which one this is
    static_shapes       whether every batch size needs a separate `fit` (TPU under TensorFlow, other backends)
    scope()             context to build and compile in
    fit_scope()         context to fit and evaluate in
    compile_arguments() what `compile` is given for the device; `"auto"` is chosen here
    distribute()        the data set of this process
    is_deterministic()  whether a recipe's `train.deterministic` asks for it on these devices
    set_deterministic() before any variable is made
    callbacks()         callbacks that the backend needs in `fit`
    comparison()        context in which all processes compare their data, and hear who fails
    unreachable_workers()   names of the workers that have ended, as far as it can be seen
    stop_agreement()    how all processes stop after the same step, `None` for one process
    is_out_of_memory(), is_lost_peer()   what an error of the backend means
    describe()          names of the devices, for env.json and `doctor`

A replica count means the same on every backend. What differs is batch normalization: a TensorFlow replica normalizes by
its own images unless `sync_bn` is set; on JAX a batch is one array, and its statistics are always those of all devices.
`GhostBatchNormalization` uses small groups on both.
"""

import contextlib
import logging

import keras

from keras_tricks.distribution.diagnosis import device_names
from keras_tricks.distribution.jax_distribution import jax_distribution, jax_process
from keras_tricks.distribution.reachable import unreachable
from keras_tricks.distribution.rendezvous import members
from keras_tricks.distribution.shared_texts import comparison
from keras_tricks.distribution.stop_agreement import make_stop_agreement
from keras_tricks.distribution.strategy import worker_names
from keras_tricks.distribution.torch_seeds import TorchSeeds
from keras_tricks.utils.errors import UserError, check_choice

log = logging.getLogger("absl")

NAMES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def make_devices(name="auto", logical_devices=None, experiment=None):
    """The devices of a run on the current Keras backend. Call it before any tensor is made.

    Args:
        name: `"auto"`, `"one"`, `"mirrored"`, `"multi_worker"` or `"tpu"`. Defaults to `"auto"`.
        logical_devices: integer > 1, splits the CPU into as many devices for `"mirrored"`. Defaults to `None`.
        experiment: dict of str to str, what all workers of `"multi_worker"` must have in common.

    Returns:
        `TensorFlowDevices` or `GlobalArrays`.

    Raises:
        UserError: no such device, a cluster that cannot be joined.
    """
    check_choice("strategy", name, NAMES)
    if keras.backend.backend() == "tensorflow":
        from keras_tricks.distribution.strategy import strategy

        return TensorFlowDevices(strategy(name, logical_devices, experiment=experiment))
    if keras.backend.backend() == "jax":
        return GlobalArrays(jax_distribution(name, logical_devices, experiment))
    if name not in ("auto", "one") or logical_devices is not None:
        option = f"--strategy {name}" if logical_devices is None else "--logical-devices"
        raise UserError(f"On the {keras.backend.backend()} backend a run uses one device: leave out {option}. "
                        "Several devices need KERAS_BACKEND=tensorflow or jax.")
    return GlobalArrays()


class _Processes:
    """What several processes of a run do together, on every backend."""

    processes, process_index = 1, 0

    def comparison(self):
        return comparison(worker_names(self.processes), self.process_index, unreachable=self.unreachable_workers)

    def unreachable_workers(self, among=None):
        return []

    def stop_agreement(self):
        return make_stop_agreement(self.process_index, self.processes)


class TensorFlowDevices(_Processes):
    """The replicas of a `tf.distribute.Strategy`."""

    def __init__(self, strategy):
        from keras_tricks.distribution.strategy import is_chief, on_gpu

        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        self.process_index, self.processes = _place_in_cluster(strategy)
        self.is_chief, self.on_gpu = is_chief(strategy), on_gpu(strategy)
        self.sums_biases_in_half = not self.on_gpu  # seen in TensorFlow 2.21: its gradient of a bias on a CPU

    @property
    def static_shapes(self):
        import tensorflow as tf

        return isinstance(self.strategy, tf.distribute.TPUStrategy)

    def unreachable_workers(self, among=None):
        """The names of other workers that have ended, `among` some or all: TensorFlow listens while a worker runs."""
        if self.processes == 1:
            return []
        addresses = members(self.strategy.cluster_resolver.cluster_spec().as_dict()).values()
        named = dict(zip(worker_names(self.processes), addresses, strict=True))
        others = [name for i, name in enumerate(named) if i != self.process_index and (among is None or name in among)]
        return unreachable({name: named[name] for name in others})

    def scope(self):
        return self.strategy.scope()

    def fit_scope(self):
        return contextlib.nullcontext()

    def compile_arguments(self, jit_compile):
        """`"auto"`: XLA on one GPU. Several replicas cannot sum inside a compiled step, and a CPU is slower with it."""
        return {"jit_compile": self.on_gpu and self.replicas == 1 if jit_compile == "auto" else jit_compile}

    def is_deterministic(self, deterministic):
        """`"auto"`: on a CPU, where it costs nothing; the deterministic kernels of a GPU are slower."""
        return not self.on_gpu if deterministic == "auto" else deterministic

    def set_deterministic(self):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()

    def distribute(self, make_part):
        """The data set of this process, from which its replicas take their shares.

        Every process makes only its part. TensorFlow would make the whole data set on each and drop the rest.

        Args:
            make_part: function `(part, parts)` to a `tf.data.Dataset` of a process' rows of each global batch.

        Returns:
            A `tf.data.Dataset`, or on several processes a `tf.distribute.DistributedDataset`.
        """
        if self.processes == 1:
            return make_part(0, 1)
        replicas = self.replicas // self.processes
        return self.strategy.distribute_datasets_from_function(
            lambda _: _split_batches(make_part(self.process_index, self.processes), replicas))

    def callbacks(self, seed, start):
        return []

    def is_out_of_memory(self, error):
        import tensorflow as tf

        return isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError))

    def is_lost_peer(self, error):
        import tensorflow as tf

        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
        return self.processes > 1 and isinstance(error, lost)

    def describe(self):
        return device_names()


class GlobalArrays(_Processes):
    """Devices on which a batch is one array: JAX data parallelism over all devices, or one device of any backend.

    Args:
        distribution: `keras.distribution.DataParallel`, or `None` for one device.
    """

    static_shapes = True  # one compilation for each batch size, and a loop that ends with its data
    sums_biases_in_half = False

    def __init__(self, distribution=None):
        hide_gpus()  # tf.data needs none, and would take their memory
        self.distribution = distribution
        self.replicas = 1 if distribution is None else distribution.device_mesh.devices.size
        self.process_index, self.processes = jax_process() if distribution is not None else (0, 1)
        self.is_chief = self.process_index == 0

    @contextlib.contextmanager
    def scope(self):
        before = keras.distribution.distribution()
        if self.distribution is not None:
            keras.distribution.set_distribution(self.distribution)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    fit_scope = scope

    def compile_arguments(self, jit_compile):
        if keras.backend.backend() != "jax":
            return {"jit_compile": jit_compile is True}
        if jit_compile is False:
            log.warning("train.jit_compile=false has no effect on JAX, which would run each operation alone: the step "
                        "is compiled")
        return {"jit_compile": True}

    def is_deterministic(self, deterministic):
        return deterministic is not False

    def set_deterministic(self):
        """Does nothing: XLA on a CPU is deterministic. For a GPU, set XLA_FLAGS=--xla_gpu_deterministic_ops=true."""

    def distribute(self, make_part):
        """The rows of this process of each batch; Keras makes one array of all of them."""
        return make_part(self.process_index, self.processes)

    def callbacks(self, seed, start):
        return [TorchSeeds(seed, start)] if keras.backend.backend() == "torch" else []

    def is_out_of_memory(self, error):
        return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error)

    def is_lost_peer(self, error):
        words = ("Gloo", "gloo", "coordination service", "UNAVAILABLE", "DEADLINE_EXCEEDED")
        return self.processes > 1 and any(word in str(error) for word in words)

    def describe(self):
        return device_names()


def hide_gpus():
    """Keeps TensorFlow from using GPUs in this process. Must be called before it has used one.

    Raises:
        UserError: TensorFlow has used them already.
    """
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        raise UserError("TensorFlow has used the GPUs of this process already: start the command in a new "
                        "process.") from None


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def _place_in_cluster(strategy):
    """(index of this process, number of processes) among which the input is divided."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    tasks = [(job, index) for job in ("chief", "worker") for index in range(len(cluster.get(job, ())))]
    return tasks.index((resolver.task_type, resolver.task_id)), len(tasks)


def _split_batches(dataset, replicas):
    """Each batch as one batch for each replica of this process, in order."""
    if replicas == 1:
        return dataset
    import tensorflow as tf

    def shares(*batch):
        split = lambda x: tf.reshape(x, (replicas, x.shape[0] // replicas, *x.shape[1:]))  # noqa: E731
        return tf.data.Dataset.from_tensor_slices(tuple(map(split, batch)))

    return dataset.flat_map(shares)
