"""Versions and devices, for `env.json` and `keras-tricks doctor`."""

import importlib.metadata
import os
import platform

import keras

PACKAGES = ("keras-tricks", "keras", "tensorflow", "numpy", "tensorflow-datasets")


def environment():
    """A dict of the Python version, platform, CPUs, devices, Keras backend and package versions."""
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_logical_devices()],
        "backend": keras.backend.backend(),
        "versions": {package: installed_version(package) for package in PACKAGES},
    }


def installed_version(package):
    """The version of an installed package as text, or `None`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
