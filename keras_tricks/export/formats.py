"""Writes the finished model in the formats of its readers. Each file or folder appears complete or not at all."""

import importlib.util
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.export import lite, saved_model
from keras_tricks.export.stock import stock
from keras_tricks.utils.atomic_files import flush_to_disk, flush_tree
from keras_tricks.utils.class_names import FILE
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.graph import Graph, call_layer, packed
from keras_tricks.utils.types import Path

FORMS = {  # name: file or folder
    "keras": "model.keras",  # keras.models.load_model
    "saved_model": "saved_model",  # tf.saved_model.load, TF Serving, TF Hub, TFSMLayer
    "feature_vector": "feature_vector",  # the same without the classifier, as TF Hub calls it
    "onnx": "model.onnx",  # ONNX Runtime
    "litert": "model.tflite",  # LiteRT, float32
    "litert_int8": "model_int8.tflite",  # LiteRT, 8-bit integers inside, floats in and out
}

PACKAGES = {"onnx": ("tf2onnx", "onnx")}  # beyond those that the package itself needs; the name is that of the extra


ANY_BACKEND = ("keras",)  # TensorFlow writes the others


def split_by_backend(formats: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Formats that the current Keras backend can write, and those that need a process on TensorFlow."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    here = tuple(name for name in formats if on_tensorflow or name in ANY_BACKEND)
    return here, tuple(name for name in formats if name not in here)


def export(model: keras.Model, folder: Path, formats: Sequence[str] = ("keras", "saved_model"),
           class_names: Sequence[str] | None = None, preprocess: Callable[..., Any] | None = None,
           examples: Any = None) -> dict[str, pathlib.Path]:
    """Writes a model in several formats. Each is written to a temporary path and then renamed.

    Args:
        model: `keras.Model` of `deployable`: float32 `(batch, height, width, 3)` in 0-255 to probabilities.
        folder: output folder, created if missing.
        formats: any of `FORMS`: `"keras"`, `"saved_model"`, `"feature_vector"`, `"onnx"`, `"litert"`, `"litert_int8"`.
            Defaults to `("keras", "saved_model")`.
        class_names, preprocess: for the SavedModels; see `export/saved_model.py`. The names are also kept in
            `model.keras`, where `keras_tricks` finds them. Default to `None`.
        examples: float32 `(n, height, width, 3)` in 0-255, from which the ranges of `"litert_int8"` are measured.
            Defaults to `None`.

    Returns:
        {format: path}.

    Raises:
        UserError: an unknown format, a missing package that a format needs, or `"litert_int8"` without examples.
    """
    writers = {
        "keras": lambda path: _keras(model, path, class_names),
        "saved_model": lambda path: _saved_model(model, path, class_names, preprocess),
        "feature_vector": lambda path: saved_model.write(without_classifier(model), path, None, preprocess),
        "onnx": lambda path: _onnx(model, path),
        "litert": lambda path: lite.write(model, path),
        "litert_int8": lambda path: lite.write(model, path, examples),
    }
    check_packages(formats)
    if "litert_int8" in formats and examples is None:
        raise UserError("`litert_int8` needs `examples`: pass images to measure the ranges of its integers.")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name in formats:
        written[name] = folder / FORMS[name]
        partial = folder / f"partial_{FORMS[name]}"
        try:
            _remove(partial)
            writers[name](partial)
            flush_tree(partial)
            _replace(partial, written[name])
            flush_to_disk(folder)
        finally:
            _remove(partial)
    return written


def check_packages(formats: Sequence[str]) -> None:
    """Raises `UserError` for an unknown format, or for the packages that one of them needs and that are missing."""
    for name in formats:
        check_choice("formats", name, FORMS)
    needed = [package for name in formats for package in PACKAGES.get(name, ())]
    missing = [package for package in dict.fromkeys(needed) if importlib.util.find_spec(package) is None]
    if missing:
        extras = ",".join(name for name in formats if name in PACKAGES)
        raise UserError(f"`{extras}` needs {' and '.join(missing)}: pip install 'keras-tricks[{extras}]'")


def without_classifier(model: keras.Model) -> keras.Model:
    """The deployable model up to the input of its classifier, `(batch, features)`.

    Raises:
        UserError: the last layer with weights, in the model or in a model inside it, is not a `Dense` layer; the model
            has several outputs, or is subclassed.
    """
    return keras.Model(*_split(model)[:2], name=f"{model.name}_features")


def with_features(model: keras.Model) -> keras.Model:
    """The deployable model with two outputs: that of `without_classifier`, and its own. Errors as there."""
    inputs, features, outputs = _split(model)
    return keras.Model(inputs, [features, outputs], name=f"{model.name}_with_features")


def _split(model):
    """(inputs, input of the classifier, output) of a model."""
    graph = Graph(model)
    if len(graph.outputs) != 1:
        raise UserError(f"{model.name} has {len(graph.outputs)} outputs: pass a model with one classifier.")
    last = next((call for call in reversed(graph.calls) if getattr(call.layer, "weights", None)), None)
    if last is None or not isinstance(last.layer, keras.layers.Dense):
        raise UserError(f"{model.name} has no classifier to remove: its last layer with weights is not a Dense layer.")
    features = last.inputs[0]
    values = graph.run(call_layer, model.inputs, wanted=[features, *graph.outputs])
    return packed(model, "input", model.inputs), values[id(features)], values[id(graph.outputs[0])]


def _keras(model, path, class_names):
    stock(model).save(path)
    if class_names is not None:  # Keras ignores further members of the archive
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(FILE, json.dumps(list(class_names)))


def _saved_model(model, path, class_names, preprocess):
    if keras.backend.backend() == "tensorflow":
        saved_model.write(model, path, class_names, preprocess)
    else:
        model.export(path, format="tf_saved_model", verbose=False)


def _onnx(model, path):
    model(np.zeros((1, *model.input_shape[1:]), "float32"))  # Keras exports only a model that was called
    try:
        model.export(path, format="onnx", verbose=False)
    except ImportError as error:
        raise UserError(f"`onnx` needs more packages: pip install 'keras-tricks[onnx]' ({error}).") from None


def _replace(partial, final):
    """Moves a form to its place. A process that is killed meanwhile leaves no part of a folder under its name."""
    old = final.with_name(f"partial_old_{final.name}")
    _remove(old)
    if final.is_dir():  # only a file can take another file's place in one step
        os.replace(final, old)
    os.replace(partial, final)
    _remove(old)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
