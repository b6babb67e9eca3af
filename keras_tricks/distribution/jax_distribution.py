"""Which devices and processes a run uses on JAX, through `keras.distribution`."""

import contextlib
import json
import logging
import os

import keras

from keras_tricks.distribution import rendezvous
from keras_tricks.distribution.strategy import cluster_config
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


def jax_distribution(name, logical_devices, experiment):
    """`keras.distribution.DataParallel` over the devices of a strategy; `None` for one device.

    The arguments and errors are those of `make_devices`. A `keras.distribution` that the user has set stays in force.
    """
    import jax

    if logical_devices is not None and name not in ("mirrored", "auto"):
        raise UserError(f"`logical_devices` goes with the strategy mirrored. Received: strategy={name!r}")
    if logical_devices is not None:
        _split_cpu(logical_devices)
    if name == "multi_worker" or (name == "auto" and cluster_config() is not None):
        _join_cluster(experiment)
        name = "multi_worker"
    own = keras.distribution.distribution()
    if own is not None:
        log.info("the keras.distribution that is set, %s over %d devices, stays in force; strategy=%s has no effect",
                 type(own).__name__, own.device_mesh.devices.size, name)
        return own
    count = len(jax.devices())
    if name == "one" or (name == "auto" and count == 1):
        return None
    # Never run on a TPU: only the error was, and the compilation of the step (`benchmarks/tpu_compile.py`).
    if name == "tpu" and jax.default_backend() != "tpu":
        raise UserError(f"No TPU was found: JAX runs on {jax.default_backend()}. Install jax[tpu] on a TPU machine.")
    if name == "mirrored" and count < 2:
        raise UserError("The strategy mirrored found one device. Try it on the CPU with --logical-devices 2, or look "
                        "with `keras-tricks doctor`.")
    return keras.distribution.DataParallel(auto_shard_dataset=False)


def _split_cpu(count):
    import jax

    if count < 2:
        raise UserError(f"`logical_devices` must be 2 or more. Received: {count}")
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", count)
    if len(jax.devices()) != count:
        raise UserError(f"`logical_devices`={count} must be set before JAX is used; this process has "
                        f"{len(jax.devices())} devices already.")


def _join_cluster(experiment):
    """Joins the processes of TF_CONFIG; without it, those of a launcher that JAX knows (Slurm, Open MPI, TPU pods)."""
    import jax

    text = os.environ.get("TF_CONFIG")
    if not text:
        keras.distribution.initialize()  # never run on a pod
        return
    config = json.loads(text)
    task = config["task"]["type"], config["task"]["index"]
    rendezvous.wait_for_workers(config["cluster"], *task, experiment)
    members = rendezvous.members(config["cluster"])
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(",".join(members.values()), len(members), list(members).index(f"{task[0]} {task[1]}"))


def jax_process():
    """(index of this process, number of processes)."""
    import jax

    return jax.process_index(), jax.process_count()
