"""Weight files: safetensors by variable path, `.weights.h5` and `.keras` through Keras. Pickles are rejected.

A safetensors file written here contains one tensor per variable, named by its path (`stem/conv1/kernel`), and the
sha256 of its contents, which is verified on reading. It is written to a temporary file, flushed to disk and renamed: a
reader sees the old file or the new one, never a partial one.
"""

import errno
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_tricks.utils.atomic_files import check_regular
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Path
from keras_tricks.weights import timm
from keras_tricks.weights.checks import check_floats, check_keras_file
from keras_tricks.weights.classifier import has_other_classes, variables_of_classifier
from keras_tricks.weights.renumbering import renumbered
from keras_tricks.weights.sources import find
from keras_tricks.weights.stem import channels_of_model, with_adapted_stem

HEAD = re.compile(r"(^|/)head/")  # variables of the classifier


def save(path: Path, variables: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Writes {name: variable or array} atomically as safetensors, with `metadata`, {str: str}. Raises `OSError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = pathlib.Path(path)
    tensors = {n: np.asarray(keras.ops.convert_to_numpy(v), order="C") for n, v in variables.items()}
    metadata = {k: str(v) for k, v in (metadata or {}).items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata=metadata | {"sha256": digest(tensors, metadata)})
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except SafetensorError as error:
        full = "No space left" in str(error) or "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def digest(tensors, metadata):
    """The sha256 of {name: array} and {str: str}, in hexadecimal."""
    sha256 = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha256.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        sha256.update(array.reshape(-1).view("uint8"))
    return sha256.hexdigest()


def read(path: Path, checked: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """Reads a safetensors file: ({name: array}, metadata without the checksum).

    Args:
        path: path of the file.
        checked: bool, whether to reject a file without a checksum, as other tools write them. Defaults to `False`.

    Raises:
        UserError: the file cannot be read, or its contents do not match the checksum.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}).") from error
    written = metadata.pop("sha256", None)
    if written is None and checked:
        raise UserError(f"{path} has no checksum: it was not written by a run of this version.")
    if written is not None and written != digest(tensors, metadata):
        raise UserError(f"{path} is damaged: its contents do not match its checksum.")
    return tensors, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, {str: str}, without reading its tensors.

    Raises:
        UserError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}).") from error


def by_path(variables):
    """{path: variable}; the paths are the names in a file."""
    variables = list(variables)
    named = {v.path: v for v in variables}
    if len(named) < len(variables):
        raise ValueError(f"{len(variables)} variables share {len(named)} paths, so a file cannot hold them all.")
    return named


def weights_of(model):
    """{path: variable} without the states of random generators, whose names depend on earlier models of the process."""
    return by_path(v for v in model.variables if v.name != "seed_generator_state")


def assign(variables, tensors, source):
    """Copies {name: array} into {name: variable}. Assigns nothing unless everything fits.

    Raises:
        UserError: names the first tensor that is missing or has another shape.
    """
    for name, variable in variables.items():
        if name not in tensors:
            raise UserError(f"{source} has no tensor {name!r} (it has {len(tensors)} others): it belongs to another "
                            "model.")
        if tuple(tensors[name].shape) != tuple(variable.shape):
            raise UserError(f"{source}: tensor {name!r} has shape {tuple(tensors[name].shape)}, the model expects "
                            f"{tuple(variable.shape)}.")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def load(model: keras.Model, weights: Path, new_head: bool = False) -> None:
    """Loads weights into a built model.

    Args:
        model: `keras.Model`.
        weights: `.safetensors` (ours or timm's), `.weights.h5` or `.keras` file, or a name on the Hugging Face Hub such
            as `"timm/resnet50d.ra2_in1k"`; see `keras_tricks/weights/sources.py`.
        new_head: bool, whether to skip, with a log message, a classifier with another number of classes (safetensors
            only), and to adapt the first convolution to the channels of the model, see `weights/stem.py`. Defaults to
            `False`.

    Raises:
        UserError: the file or repository does not exist, the kind of file is unknown, or a tensor does not fit; the
            message names it and both shapes. A tensor has values that are not finite, or integers or bools. Nothing is
            assigned then.
    """
    source = find(weights)
    path = source.path
    if path.suffix == ".safetensors":
        tensors, _ = read(path)
        if timm.is_timm(tensors):
            architecture = source.info.architecture if source.info else ""
            timm.assign_timm(model, tensors, source.name, new_head, architecture)
            return
        prefix = "model/" if any(name.startswith("model/") for name in tensors) else ""
        variables = renumbered({f"{prefix}{n}": v for n, v in weights_of(model).items()}, tensors)
        own = variables_of_classifier(model)
        head = {n: v for n, v in variables.items() if HEAD.search(n) or any(v is w for w in own)}
        if new_head and has_other_classes(head, tensors, source.name, model):
            variables = {n: v for n, v in variables.items() if n not in head}
        floats = (n for n, v in variables.items() if n in tensors and "float" in v.dtype)
        check_floats({n: tensors[n] for n in floats}, path.name)
        if new_head:
            tensors = with_adapted_stem(variables, tensors, channels_of_model(model), source.name)
        assign(variables, tensors, path.name)
        return
    check_keras_file(path)
    try:
        if path.name.endswith(".weights.h5"):
            model.load_weights(path)
        else:
            saved = keras.saving.load_model(path, compile=False)
            assign(weights_of(model), _like(weights_of(model), weights_of(saved)), path.name)
    except UserError:
        raise
    except (ValueError, OSError, KeyError) as error:
        # Keras names the tensor and both shapes after the first line and prints the values after ", value=".
        reason = " ".join(str(error).split()).split(", value=")[0]
        raise UserError(f"{path.name} does not fit {model.name}: {reason}") from error


def _like(wanted, saved):
    """{name in `wanted`: array} of the variables of an exported model.

    Its layers are all Keras' own, so that `stem/conv1/kernel` of a network is `stem_conv1/kernel` there.
    """
    flat = {name.replace("/", "_"): name for name in wanted}
    return {flat.get(name.replace("/", "_"), name): keras.ops.convert_to_numpy(v) for name, v in saved.items()}
