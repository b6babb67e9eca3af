"""Writing the finished model, in the form each reader wants. A form appears whole, or not at all."""

import os
import pathlib
import shutil

import keras

from keras_tricks.export import lite, saved_model
from keras_tricks.utils.errors import UserError, check_choice

FORMS = {  # name: file or folder
    "keras": "model.keras",  # keras.models.load_model
    "saved_model": "saved_model",  # tf.saved_model.load, TF Serving, TF Hub, TFSMLayer
    "feature_vector": "feature_vector",  # the same without the classifier: TF Hub's word for it
    "onnx": "model.onnx",  # ONNX Runtime
    "litert": "model.tflite",  # LiteRT, float32
    "litert_int8": "model_int8.tflite",  # LiteRT, 8-bit integers inside, floats in and out
}


def export(model, folder, formats=("keras", "saved_model"), class_names=None, preprocess=None, examples=None):
    """Writes a model in several forms. Each is written beside its place and then moved there.

    Args:
        model: `keras.Model` of `deployable`: float32 `(batch, height, width, 3)` in 0-255 to probabilities.
        folder: made if missing.
        formats: any of `FORMS`: `"keras"`, `"saved_model"`, `"feature_vector"`, `"onnx"`, `"litert"`, `"litert_int8"`.
        class_names, preprocess: for the SavedModels, see `export/saved_model.py`.
        examples: float32 `(n, height, width, 3)` in 0-255, from which `"litert_int8"` learns its ranges.

    Returns:
        {format: path}.

    Raises:
        UserError: an unknown format, a package that a format needs is not installed, `"litert_int8"` without examples.
    """
    writers = {
        "keras": lambda path: model.save(path),
        "saved_model": lambda path: _saved_model(model, path, class_names, preprocess),
        "feature_vector": lambda path: saved_model.write(without_classifier(model), path, None, preprocess),
        "onnx": lambda path: _onnx(model, path),
        "litert": lambda path: lite.write(model, path),
        "litert_int8": lambda path: lite.write(model, path, examples),
    }
    for name in formats:
        check_choice("formats", name, FORMS)
    if "litert_int8" in formats and examples is None:
        raise UserError("`litert_int8` needs `examples`, images from which it learns the ranges of its integers.")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name in formats:
        written[name] = folder / FORMS[name]
        partial = folder / f"partial_{FORMS[name]}"
        try:
            _remove(partial)
            writers[name](partial)
            _remove(written[name])
            os.replace(partial, written[name])
        finally:
            _remove(partial)
    return written


def without_classifier(model):
    """The deployed model up to the vector that its classifier reads: `(batch, features)`.

    Raises:
        UserError: the network's last layer that has weights is no `Dense` layer.
    """
    network = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    dense = next((layer for layer in reversed(network.layers) if layer.weights), None)
    if not isinstance(dense, keras.layers.Dense):
        raise UserError(f"{model.name} has no classifier to leave out: its last layer with weights is no Dense layer.")
    features = keras.Model(network.input, dense.input)
    if network is model:
        return features
    x = model.input
    for layer in model.layers[1:]:
        x = features(x) if layer is network else layer(x)
        if layer is network:
            break
    return keras.Model(model.input, x, name=f"{model.name}_features")


def _saved_model(model, path, class_names, preprocess):
    if keras.backend.backend() == "tensorflow":
        saved_model.write(model, path, class_names, preprocess)
    else:
        model.export(path, format="tf_saved_model", verbose=False)


def _onnx(model, path):
    try:
        model.export(path, format="onnx", verbose=False)
    except ImportError as error:
        raise UserError(f"`onnx` needs more packages: pip install 'keras-tricks[onnx]' ({error}).") from None


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
