"""Which Keras backend the program will use, found out without importing Keras."""

import importlib.util
import json
import os
import pathlib

from keras_tricks.utils.errors import UserError, nearest

PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch", "numpy": "numpy", "openvino": "openvino"}
WITHOUT_DATA = ("list", "inspect", "compare", "doctor")  # commands that read no images
TRAINING = ("tensorflow", "jax", "torch")  # backends that train


def configured_backend(environment=None):
    """(name, where it was set) of the backend that Keras will choose."""
    environment = os.environ if environment is None else environment
    if name := environment.get("KERAS_BACKEND"):
        return name, "KERAS_BACKEND"
    home = pathlib.Path(environment.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    try:
        settings = json.loads((home / "keras.json").read_text(encoding="utf-8"))
        return str(settings["backend"]), str(home / "keras.json")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "tensorflow", "the default"


def is_installed(package):
    """Whether a package can be imported. A folder of that name in the working directory does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def check_not_hidden(package):
    """Raises `UserError` if a folder or file of the working directory is imported in place of an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    own = pathlib.Path(spec.origin).resolve()
    here = pathlib.Path.cwd()
    if own in (here / f"{package}.py", here / package / "__init__.py"):
        raise UserError(f"{own} would be imported in place of the package {package}: start the command in another "
                        "folder, or rename it.")


def check_backend(command):
    """Raises `UserError` unless the backend is known, installed and fit for the command."""
    name, where = configured_backend()
    if name not in PACKAGES:
        raise UserError(f"{name!r} ({where}) is not a backend of Keras: {', '.join(PACKAGES)}."
                        f"{nearest(name, PACKAGES)}")
    if not is_installed(PACKAGES[name]):
        other = "" if name == "tensorflow" else " or set KERAS_BACKEND=tensorflow"
        raise UserError(f"The Keras backend {name} ({where}) is not installed: pip install {PACKAGES[name]}{other}.")
    for package in (PACKAGES[name], "keras", "tensorflow"):
        check_not_hidden(package)
    if command in WITHOUT_DATA or name == "tensorflow":
        return
    if name not in TRAINING:
        raise UserError(f"`keras-tricks {command}` needs a backend that trains: {', '.join(TRAINING)}. Received: "
                        f"{name} ({where}). Set KERAS_BACKEND.")
    if not is_installed("tensorflow"):
        raise UserError(f"`keras-tricks {command}` reads images with tf.data on every backend, and TensorFlow is not "
                        "installed: pip install tensorflow-cpu (or tensorflow).")
