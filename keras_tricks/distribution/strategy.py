"""One flag from a laptop to several machines: which `tf.distribute` strategy a run uses.

    one            one device
    mirrored       all GPUs of this machine, or `logical_devices` slices of its CPU to try it without GPUs
    multi_worker   several processes, from TF_CONFIG, or from Slurm's variables
    tpu            a TPU; TensorFlow's wheels support TPUs up to 2.19.1
    auto           multi_worker where a cluster is described, else mirrored with more than one GPU, else one
"""

import json
import os
import socket

from keras_tricks.distribution import rendezvous
from keras_tricks.distribution.keras_patches import apply_patches
from keras_tricks.utils.errors import UserError, check_choice

NAMES = ("auto", "one", "mirrored", "multi_worker", "tpu")
LAST_TPU_TENSORFLOW = (2, 19, 1)


def strategy(name="auto", logical_devices=None, tpu=None):
    """Makes a `tf.distribute.Strategy`. Call it before any tensor is made.

    Args:
        name: `"auto"`, `"one"`, `"mirrored"`, `"multi_worker"` or `"tpu"`. Defaults to `"auto"`.
        logical_devices: integer > 1, splits the CPU into as many devices for `"mirrored"`.
        tpu: name or address of the TPU, as in `TPUClusterResolver`.

    Returns:
        A strategy; build and compile the model inside its `scope()`.

    Raises:
        UserError: no such device, a `TF_CONFIG` that is not JSON, a worker that has not started after
            `KERAS_TRICKS_TIMEOUT` seconds (default 300).
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
    return _tpu(tf, tpu) if name == "tpu" else _multi_worker(tf)


def mirrored(devices):
    """A `MirroredStrategy` over named devices.

    CPU slices are summed on one device: the collective operations TensorFlow would choose cannot serve groups of two
    sizes in one process.
    """
    import tensorflow as tf

    on_cpu = all("CPU" in device for device in devices)
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice() if on_cpu else None)


def is_chief(strategy):
    """Whether this process writes files: true but for the workers other than the first."""
    resolver = strategy.cluster_resolver
    if resolver is None or not getattr(resolver, "task_type", None):
        return True
    cluster = resolver.cluster_spec().as_dict()
    if "chief" in cluster:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


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
        UserError: it is not JSON, or lacks its `cluster` or `task`.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}). Expected something like "
                        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}.'
                        ) from None
    if not isinstance(config, dict) or not config.get("cluster") or "task" not in config:
        raise UserError(f"TF_CONFIG must be a JSON object with `cluster` and `task`. Received: {text[:200]}")
    return config


def _slurm_tasks():
    return int(os.environ.get("SLURM_NTASKS", "1") or 1) if "SLURM_PROCID" in os.environ else 1


def _multi_worker(tf):
    config = cluster_config()
    if config is None and _slurm_tasks() > 1:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    elif config is None:
        raise UserError("The strategy multi_worker needs TF_CONFIG (or Slurm's variables) to name the workers.")
    else:
        _check_task(config)
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    _check_addresses(resolver)
    rendezvous.meet(resolver.cluster_spec().as_dict(), resolver.task_type, resolver.task_id)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        raise UserError(f"The workers could not be joined: {str(error).splitlines()[0]}") from error


def _check_task(config):
    task = config["task"]
    kind, index = task.get("type"), task.get("index")
    addresses = config["cluster"].get(kind)
    if addresses is None or not isinstance(index, int) or not 0 <= index < len(addresses):
        raise UserError(f"TF_CONFIG: the task {task} is not in the cluster {config['cluster']}.")


def _check_addresses(resolver):
    """Raises `UserError` for a worker whose host is not known: TensorFlow would wait for it for ever."""
    for job, tasks in resolver.cluster_spec().as_dict().items():
        for index, address in enumerate(tasks):
            try:
                socket.getaddrinfo(*rendezvous.split(address))
            except (OSError, ValueError) as error:
                raise UserError(f"{job} {index} of TF_CONFIG, {address!r}, cannot be reached: {error}.") from None


def _tpu(tf, tpu):
    version = tuple(int(p) for p in tf.__version__.split(".")[:3] if p.isdigit())
    if version > LAST_TPU_TENSORFLOW:
        raise UserError(f"TensorFlow {tf.__version__} does not support TPUs; 2.19.1 is the last version that does. "
                        "Install tensorflow-tpu==2.19.1, or run the model on Keras' JAX backend.")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(f"No TPU was found ({str(error).splitlines()[0]}).") from None
    return tf.distribute.TPUStrategy(resolver)
