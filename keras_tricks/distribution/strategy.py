"""One flag from a laptop to several machines: which `tf.distribute` strategy a run uses.

    one            one device
    mirrored       all GPUs of this machine, or `logical_devices` slices of its CPU to try it without GPUs
    multi_worker   several processes, from TF_CONFIG, or from Slurm's variables
    tpu            a TPU, with the package tensorflow-tpu
    auto           multi_worker where a cluster is described, else mirrored with more than one GPU, else one
"""

import importlib.util
import logging
import os
import socket

from keras_tricks.distribution import rendezvous
from keras_tricks.distribution.keras_patches import apply_patches
from keras_tricks.distribution.tf_config import parse_tf_config
from keras_tricks.utils.errors import UserError, check_choice, one_line

log = logging.getLogger("absl")

NAMES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def strategy(name="auto", logical_devices=None, tpu=None, experiment=None):
    """Makes a `tf.distribute.Strategy`. Call it before any tensor is made.

    Args:
        name: `"auto"`, `"one"`, `"mirrored"`, `"multi_worker"` or `"tpu"`. Defaults to `"auto"`.
        logical_devices: integer > 1, splits the CPU into as many devices for `"mirrored"`.
        tpu: name or address of the TPU, as in `TPUClusterResolver`.
        experiment: dict of str to str, what all workers of `"multi_worker"` must have in common, such as
            `{"seed": "0"}`. Defaults to `None`: only the cluster is compared.

    Returns:
        A strategy; build and compile the model inside its `scope()`.

    Raises:
        UserError: no such device, a `TF_CONFIG` that is not JSON, a worker that has not started after
            `KERAS_TRICKS_TIMEOUT` seconds (default 300), workers with different experiments.
    """
    check_choice("strategy", name, NAMES)
    import tensorflow as tf

    if logical_devices is not None and name not in ("mirrored", "auto"):
        raise UserError(f"`logical_devices` goes with the strategy mirrored. Received: strategy={name!r}")
    if name == "auto":
        name = _choose(tf, logical_devices)
    if name == "one":
        return tf.distribute.get_strategy()
    apply_patches()
    if name == "mirrored":
        return mirrored(_devices(tf, logical_devices))
    return _tpu(tf, tpu) if name == "tpu" else _multi_worker(tf, experiment)


def mirrored(devices):
    """A `MirroredStrategy` over named devices.

    CPU slices are summed on one device: the collective operations TensorFlow would choose cannot serve groups of two
    sizes in one process.
    """
    import tensorflow as tf

    on_cpu = all("CPU" in device for device in devices)
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice() if on_cpu else None)


def on_gpu(strategy):
    """Whether the replicas of a strategy are GPUs."""
    import tensorflow as tf

    if strategy.num_replicas_in_sync > 1:
        return any("GPU" in device.upper() for device in strategy.extended.worker_devices)
    return bool(tf.config.list_logical_devices("GPU"))


def is_chief(strategy):
    """Whether this process writes files: true but for the workers other than the first."""
    resolver = strategy.cluster_resolver
    if resolver is None or not getattr(resolver, "task_type", None):
        return True
    cluster = resolver.cluster_spec().as_dict()
    if "chief" in cluster:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def worker_names(processes):
    """Names of so many processes that train together, in order: those of `TF_CONFIG`, or `"worker 0"` and so on."""
    config = cluster_config() if processes > 1 else None
    return [f"worker {i}" for i in range(processes)] if config is None else list(rendezvous.members(config["cluster"]))


def _choose(tf, logical_devices):
    if cluster_config() is not None or _slurm_tasks() > 1:
        return "multi_worker"
    several = logical_devices is not None or len(tf.config.list_physical_devices("GPU")) > 1
    return "mirrored" if several else "one"


def _devices(tf, logical_devices):
    gpus = tf.config.list_logical_devices("GPU") if logical_devices is None else []
    if gpus:
        return [gpu.name for gpu in gpus]
    if logical_devices is None:
        raise UserError("The strategy mirrored found no GPU. Try it on the CPU with --logical-devices 2, "
                        "or look with `keras-tricks doctor`.")
    if logical_devices < 2:
        raise UserError(f"`logical_devices` must be 2 or more. Received: {logical_devices}")
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * logical_devices)
    except RuntimeError:
        found = len(tf.config.list_logical_devices("CPU"))
        if found != logical_devices:
            raise UserError(f"`logical_devices`={logical_devices} must be set before TensorFlow is used; this process "
                            f"has {found} already.") from None
    return [device.name for device in tf.config.list_logical_devices("CPU")]


def several_workers(strategy):
    """Whether a strategy spans processes, which must then do everything that communicates at the same step."""
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def cluster_config():
    """`TF_CONFIG` as a dictionary, `None` when it is not set.

    Raises:
        UserError: it is not JSON, or does not describe a cluster with this task in it.
    """
    text = os.environ.get("TF_CONFIG")
    return parse_tf_config(text) if text else None


def _slurm_tasks():
    if "SLURM_PROCID" not in os.environ:
        return 1
    tasks = os.environ.get("SLURM_NTASKS") or "1"
    if not (tasks.isascii() and tasks.isdigit()):
        raise UserError(f"SLURM_NTASKS must be a number. Received: {tasks!r}")
    return int(tasks)


def _multi_worker(tf, experiment):
    config = cluster_config()
    if config is None and _slurm_tasks() > 1:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    elif config is None:
        raise UserError("The strategy multi_worker needs TF_CONFIG (or Slurm's variables) to name the workers.")
    else:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    _check_addresses(resolver)
    rendezvous.wait_for_workers(resolver.cluster_spec().as_dict(), resolver.task_type, resolver.task_id, experiment)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        raise UserError(f"The workers could not be joined: {str(error).splitlines()[0]}") from error


def _check_addresses(resolver):
    """Raises `UserError` for a worker whose host is not known: TensorFlow would wait for it for ever."""
    for job, tasks in resolver.cluster_spec().as_dict().items():
        for index, address in enumerate(tasks):
            try:
                socket.getaddrinfo(*rendezvous.parse_address(address))
            except (OSError, ValueError) as error:
                raise UserError(f"{job} {index} of TF_CONFIG, {address!r}, cannot be reached: {error}.") from None


def _tpu(tf, tpu):
    # Never run on a TPU: only the warning and the error were.
    if importlib.util.find_spec("libtpu") is None:
        log.warning("TensorFlow %s may have no support for TPUs here: the package tensorflow-tpu, which brings libtpu, "
                    "is not installed", tf.__version__)
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu)
    except (ValueError, RuntimeError, AttributeError, tf.errors.OpError) as error:
        raise UserError(f"No TPU was found ({one_line(error)}). pip install tensorflow-tpu on a TPU machine, or use "
                        "another --strategy.") from None
    return tf.distribute.TPUStrategy(resolver)
