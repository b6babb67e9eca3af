"""Models from outside the registry: a function of your own, by import path or handed over.

    mypackage.nets:build                    called as build(input_shape=, classes=, **options); returns logits
    keras.applications:EfficientNetV2B0     every function of `keras.applications`, without weights and without softmax
    keras_hub.models:ResNetBackbone         every backbone of keras-hub, see `hub_backbones`

`options` are those of the recipe (`model.options`).
"""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks.models import hub_backbones
from keras_tricks.utils.errors import UserError, nearest, one_line
from keras_tricks.utils.import_path import is_import_path, load_object

DEFAULT_SIZE = 224  # pixels of the images of the check, if the model takes any size
# Arguments of `keras.applications`: no download, logits, and pixels that the pipeline normalizes.
OF_APPLICATIONS = {"weights": None, "classifier_activation": None, "include_preprocessing": False}


def load_builder(path: str) -> Callable[..., keras.Model]:
    """The function at an import path. Raises `UserError` if there is none."""
    if hub_backbones.is_preset(path):
        return hub_backbones.builder(path.partition(":")[2], path)
    found = load_object(path, "model.name")
    if hub_backbones.is_backbone(found):
        return hub_backbones.builder(found, path)
    if not callable(found):
        raise UserError(f"`model.name`: {path} is {type(found).__name__}, not a function that builds a model.")
    return found


def name_of(build: Callable[..., keras.Model]) -> str:
    """The import path of a function, or `"<function build>"` if importing that does not return it."""
    path = f"{getattr(build, '__module__', None)}:{getattr(build, '__qualname__', None)}"
    if is_import_path(path) and not path.startswith("__main__:"):
        with contextlib.suppress(UserError):
            if load_object(path, "model") is build:
                return path
    return f"<function {getattr(build, '__name__', type(build).__name__).strip('<>')}>"


def create_own_model(build: Callable[..., keras.Model], name: str, input_shape: tuple | None = None,
                     classes: int = 1000, weights: str | None = None, **options: Any) -> keras.Model:
    """Builds a model with a function of the user and checks it.

    Args:
        build: function `(input_shape, classes, **options)` that returns a `keras.Model` with logits.
        name: name of the function in messages.
        input_shape: (height, width, channels); height and width may be `None`. Defaults to `None`: (224, 224, 3).
        classes: integer. Defaults to `1000`.
        weights: file or name, see `keras_tricks.weights.load`. Defaults to `None`: the initial weights.
        **options: further arguments of the function.

    Returns:
        A built `keras.Model`: float32 `(batch, *input_shape)` -> float32 `(batch, classes)`, logits.

    Raises:
        UserError: the function takes other arguments or raises; it returns no Keras model, or one of other images, of
            another number of classes, or of probabilities.
    """
    input_shape = (DEFAULT_SIZE, DEFAULT_SIZE, 3) if input_shape is None else tuple(input_shape)
    arguments = {"input_shape": input_shape, "classes": classes, **options}
    if str(getattr(build, "__module__", "")).startswith("keras."):
        arguments |= {k: v for k, v in OF_APPLICATIONS.items() if k in _parameters(build) and k not in options}
    _check_arguments(build, name, arguments)
    try:
        model = build(**arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"`model.name`: {name} raised {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"`model.name`: {name} must return a keras.Model. Received: {type(model).__name__}.")
    model = _with_float32_output(model)
    _check_model(model, name, input_shape, classes)
    if weights is not None:
        from keras_tricks.weights import load

        load(model, weights, new_head=True)
    return model


def normalizes_itself(model: keras.Model) -> str | None:
    """The name of a layer of a model that normalizes its images (`Rescaling`, `Normalization`), or `None`."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return next((layer.name for layer in model.layers if isinstance(layer, kinds)), None)


def _parameters(build):
    try:
        return inspect.signature(build).parameters
    except (TypeError, ValueError):  # a builtin
        return {}


def _check_arguments(build, name, arguments):
    known = _parameters(build)
    if not known or any(p.kind == p.VAR_KEYWORD for p in known.values()):
        return
    for argument in arguments:
        if argument not in known:
            hint = nearest(argument, known)
            if argument == "zero_gamma":
                hint = " Call kt.surgery.zero_gamma(model) in the function instead of setting model.zero_gamma."
            raise UserError(f"`model.name`: {name} is called with {', '.join(arguments)} and takes no argument "
                            f"`{argument}`.{hint} It takes: {', '.join(known)}.")


def _with_float32_output(model):
    """Logits in float32, also under mixed precision: the loss is computed from them."""
    try:
        outputs = model.output
    except (AttributeError, ValueError):
        return model  # a subclassed model
    if keras.backend.standardize_dtype(outputs.dtype) == "float32":
        return model
    outputs = keras.layers.Activation("linear", dtype="float32", name="logits_float32")(outputs)
    return keras.Model(model.input, outputs, name=model.name)


def _check_model(model, name, input_shape, classes):
    """Calls the model on two images. Raises a `UserError` if its output is anything but logits of the classes."""
    sizes = [DEFAULT_SIZE if size is None else size for size in input_shape]
    images = np.random.default_rng(0).normal(size=(2, *sizes)).astype("float32")
    shown = f"images of shape {tuple(sizes)}"
    try:
        outputs = model(images, training=False)
    except Exception as error:
        raise UserError(f"`model.name`: the model of {name} cannot be called on {shown}: {type(error).__name__}: "
                        f"{one_line(error)}") from error
    got = tuple(outputs.shape) if hasattr(outputs, "shape") else type(outputs).__name__
    if got != (2, classes):
        raise UserError(f"`model.name`: the model of {name} must return logits of shape {(2, classes)} for two {shown}."
                        f" It returned: {got}.")
    values = keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))
    activation = _last_activation(model)
    if activation or (np.all(values >= 0) and np.allclose(values.sum(axis=-1), 1.0, atol=1e-3)):
        raise UserError(f"`model.name`: the model of {name} returns probabilities ({activation or 'rows that sum to 1'}"
                        "), and must return logits: leave out the activation of its last layer.")
    paths = [variable.path for variable in model.variables]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise UserError(f"`model.name`: the model of {name} has two variables with the path {twice}, so a checkpoint "
                        "cannot tell them apart: give its layers different names.")


def _last_activation(model):
    """`"softmax"` or `"sigmoid"` if the last layer of the model is or has such an activation, else `None`."""
    last = model.layers[-1] if getattr(model, "layers", None) else None
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    activation = getattr(getattr(last, "activation", None), "__name__", None)
    return activation if activation in ("softmax", "sigmoid") else None
