"""Versions and devices, for `env.json` and `keras-tricks doctor`."""

import importlib.metadata
import os
import platform

import keras

from keras_tricks.utils.errors import UserError

PACKAGES = ("keras-tricks", "keras", "tensorflow", "jax", "torch", "numpy", "tensorflow-datasets")


def environment(devices: list[str]) -> dict:
    """A dict of the Python version, platform, CPUs, devices, Keras backend and package versions.

    Args:
        devices: names of the devices, see `distribution/devices.py`.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": devices,
        "backend": keras.backend.backend(),
        "versions": {package: installed_version(package) for package in PACKAGES},
    }


def check_limits():
    """Raises `UserError` if Keras is configured to end every training early: an incomplete run would exit with 0."""
    for name, value in (("KERAS_MAX_EPOCHS", keras.config.max_epochs()),
                        ("KERAS_MAX_STEPS_PER_EPOCH", keras.config.max_steps_per_epoch())):
        if value is not None:
            raise UserError(f"{name} is {value}, so Keras would end the training early: unset it, and use --set "
                            "schedule.epochs=N or data.train_images=N.")


def installed_version(package: str) -> str | None:
    """The version of an installed package as text, or `None`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
