"""The names of the zoo: `create_model`, `list_models`, `model_info`.

A family file adds its variants with `variant`, one line each. A name registered twice is an error that shows where the
first one stands.
"""

import dataclasses
import fnmatch
import functools
import inspect
import re

from keras_tricks.utils import imagenet
from keras_tricks.utils.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What a model expects and where it comes from. Keys are timm's, sizes are (height, width, channels).

    `mean` and `std` are on the 0-255 scale. `paper_top1` is the ImageNet top-1 in percent printed by `paper_ids`, or
    `None`. `family` is the file under `keras_tricks/models`.
    """

    name: str
    paper_ids: str
    input_size: tuple = (224, 224, 3)
    test_input_size: tuple = (224, 224, 3)
    crop_pct: float = 0.875
    interpolation: str = "bilinear"
    mean: tuple = imagenet.MEAN
    std: tuple = imagenet.STD
    num_classes: int = 1000
    paper_top1: float | None = None
    family: str = ""

    @functools.cached_property
    def parameters(self):
        """Trainable parameters with the default `num_classes`. Builds the model once."""
        return self._cost(self.input_size).parameters

    def macs(self, image_size=None):
        """Multiply-adds of one image of `image_size` pixels (default: the training size). Builds the model."""
        size = self.input_size if image_size is None else (image_size, image_size, 3)
        return self._cost(size).macs

    def _cost(self, input_shape):
        from keras_tricks.analysis import cost

        return cost(create_model(self.name, input_shape=input_shape, classes=self.num_classes))


@dataclasses.dataclass(frozen=True)
class _Entry:
    build: callable
    info: ModelInfo
    where: str


_MODELS = {}


def register(name, build, info):
    """Adds a model under a timm-like lower-case `name`."""
    where = f"{build.__module__}.{build.__qualname__}"
    if name in _MODELS:
        raise ValueError(f"The model name {name!r} is taken by {_MODELS[name].where}; {where} needs another.")
    _MODELS[name] = _Entry(build, dataclasses.replace(info, family=build.__module__.rpartition(".")[2]), where)


def variant(name, builder, /, *, key=None, paper="", info=None, **fixed):
    """A named constructor: `builder` with some arguments fixed, registered under `key` (default: lower-case `name`).

    Args:
        name: the public name, as in the paper: `"ResNet50D"`.
        builder: the family's builder; its other arguments stay open, with its docstring.
        paper: arXiv number.
        info: dict, fields of `ModelInfo` that differ from the defaults.
        **fixed: the arguments that make the variant.
    """
    key = key or name.lower()
    info = ModelInfo(name=key, paper_ids=f"arXiv:{paper}" if paper else "", **(info or {}))

    def build(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        defaults = {"name": key, "classes": info.num_classes}
        if given.get("include_top", True) and given.get("input_tensor") is None and given.get("input_shape") is None:
            given["input_shape"] = info.input_size
        return builder(**{**fixed, **defaults, **given})

    open_parameters = {n: p for n, p in inspect.signature(builder).parameters.items() if n not in fixed}
    open_parameters["classes"] = open_parameters["classes"].replace(default=info.num_classes)
    signature = inspect.Signature(list(open_parameters.values()))
    build.__name__ = build.__qualname__ = name
    build.__module__ = builder.__module__
    build.__signature__ = signature
    arguments = ", ".join(f"{k}={v!r}" for k, v in fixed.items())
    build.__doc__ = f"{name} ({paper}): `{builder.__name__}` with {arguments}; see there for the arguments."
    register(key, build, info)
    return build


def list_models(filter="*"):
    """Registered names that match a shell-style pattern such as `"resnet*d"`, sorted."""
    return sorted(fnmatch.filter(_MODELS, filter), key=lambda n: [int(p) if p.isdigit() else p for p in _parts(n)])


def _parts(name):
    """`"resnet101d"` -> `["resnet", "101", "d"]`, so that 50 sorts before 101."""
    return re.split(r"(\d+)", name)


def _entry(name):
    if name not in _MODELS:
        raise UserError(f"There is no model {name!r}.{nearest(name, _MODELS)} `keras-tricks list models` shows all.")
    return _MODELS[name]


def create_model(name, **kwargs):
    """Builds a registered model.

    Args:
        name: registry key, for instance `"resnet50d"`.
        **kwargs: arguments of the family's builder (`include_top, weights, input_shape, classes, ...`). `num_classes`
            is accepted for `classes`.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: unknown name (the nearest one is suggested) or unknown argument.
    """
    entry = _entry(name)
    if "num_classes" in kwargs:
        if "classes" in kwargs:
            raise UserError("`classes` and `num_classes` mean the same: give one of them.")
        kwargs["classes"] = kwargs.pop("num_classes")
    known = inspect.signature(entry.build).parameters
    for argument in kwargs:
        if argument not in known:
            raise UserError(f"{name} has no argument `{argument}`.{nearest(argument, known)} "
                            f"It takes: {', '.join(known)}.")
    return entry.build(**kwargs)


def model_info(name):
    """The `ModelInfo` of a registered model. Raises `UserError` for an unknown name."""
    return _entry(name).info
