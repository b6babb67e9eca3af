"""The registry of model names: `create_model`, `list_models`, `model_info`.

A family file adds its variants with `variant`, one line each. Registering a name twice is an error that names the first
registration.
"""

import dataclasses
import fnmatch
import functools
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import keras

from keras_tricks.models import own
from keras_tricks.utils import imagenet
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.import_path import is_import_path
from keras_tricks.weights import pretrained

log = logging.getLogger("absl")

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """The input of a model and its source. Field names are timm's; sizes are (height, width, channels).

    `mean` and `std` are on the 0-255 scale. `paper_top1` is the ImageNet top-1 accuracy in percent that `paper_ids`
    reports, or `None`. `family` is the name of the file in `keras_tricks/models`.
    """

    name: str
    paper_ids: str
    input_size: tuple[int, int, int] = (224, 224, 3)
    test_input_size: tuple[int, int, int] = (224, 224, 3)
    crop_pct: float = 0.875
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = imagenet.MEAN
    std: tuple[float, float, float] = imagenet.STD
    num_classes: int = 1000
    paper_top1: float | None = None
    family: str = ""

    @functools.cached_property
    def parameters(self) -> int:
        """Trainable parameters with the default `num_classes`. Builds the model once."""
        return self._cost(self.input_size).parameters

    def macs(self, image_size: int | None = None) -> int:
        """Multiply-adds for one image of `image_size` pixels, by default the training size. Builds the model."""
        size = self.input_size if image_size is None else (image_size, image_size, 3)
        return self._cost(size).macs

    def _cost(self, input_shape):
        from keras_tricks.analysis import cost

        return cost(create_model(self.name, input_shape=input_shape, classes=self.num_classes))


@dataclasses.dataclass(frozen=True)
class _Entry:
    build: Callable[..., keras.Model]
    info: ModelInfo
    where: str


_MODELS: dict[str, _Entry] = {}


def register(name: str, build: Callable[..., keras.Model], info: ModelInfo) -> None:
    """Adds a model under a timm-like lower-case `name`."""
    where = f"{build.__module__}.{build.__qualname__}"
    if name in _MODELS:
        raise ValueError(f"The model name {name!r} is taken by {_MODELS[name].where}: choose another for {where}.")
    _MODELS[name] = _Entry(build, dataclasses.replace(info, family=build.__module__.rpartition(".")[2]), where)


# A type checker sees the signature of the builder without the leading arguments that the variant fixes.
@overload
def variant(name: str, builder: Callable[Concatenate[A, P], keras.Model], first: A, /, *, key: str | None = None,
            paper: str = "", info: dict[str, Any] | None = None, **fixed: Any) -> Callable[P, keras.Model]: ...
@overload
def variant(name: str, builder: Callable[Concatenate[A, B, P], keras.Model], first: A, second: B, /, *,
            key: str | None = None, paper: str = "", info: dict[str, Any] | None = None,
            **fixed: Any) -> Callable[P, keras.Model]: ...
@overload
def variant(name: str, builder: Callable[Concatenate[A, B, C, P], keras.Model], first: A, second: B, third: C, /, *,
            key: str | None = None, paper: str = "", info: dict[str, Any] | None = None,
            **fixed: Any) -> Callable[P, keras.Model]: ...
def variant(name: str, builder: Callable[..., keras.Model], /, *leading: Any, key: str | None = None, paper: str = "",
            info: dict[str, Any] | None = None, adjustable: tuple[str, ...] = (),
            **fixed: Any) -> Callable[..., keras.Model]:
    """A named constructor, `builder` with some arguments fixed. Registers it.

    Args:
        name: the public name, as in the paper, such as `"ResNet50D"`.
        builder: the builder of the family. Its other arguments remain arguments of the variant.
        *leading: the first one to three arguments of `builder`, which define the variant.
        key: registry key. Defaults to `None`: `name` in lower case.
        paper: arXiv number. Defaults to `""`.
        info: fields of `ModelInfo` that differ from the defaults. Defaults to `None`.
        adjustable: names of fixed arguments that remain keyword arguments, with the fixed value as default. Defaults to
            `()`.
        **fixed: other arguments that define the variant.
    """
    parameters = inspect.signature(builder).parameters
    fixed = {**dict(zip(parameters, leading, strict=False)), **fixed}
    kept = [parameters[n].replace(default=fixed.pop(n), kind=inspect.Parameter.KEYWORD_ONLY) for n in adjustable]
    key = key or name.lower()
    expected = ModelInfo(name=key, paper_ids=f"arXiv:{paper}" if paper else "", **(info or {}))

    def build(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        defaults = {"name": key, "classes": expected.num_classes}
        if given.get("include_top", True) and given.get("input_tensor") is None and given.get("input_shape") is None:
            given["input_shape"] = expected.input_size
        return builder(**{**fixed, **{p.name: p.default for p in kept}, **defaults, **given})

    open_parameters = {n: p for n, p in inspect.signature(builder).parameters.items() if n not in fixed}
    open_parameters["classes"] = open_parameters["classes"].replace(default=expected.num_classes)
    signature = inspect.Signature([*(p for p in open_parameters.values() if p.name not in adjustable), *kept])
    build.__name__ = build.__qualname__ = name
    build.__module__ = builder.__module__
    build.__signature__ = signature
    arguments = ", ".join(f"{k}={v!r}" for k, v in fixed.items())
    build.__doc__ = f"{name} ({paper}): `{builder.__name__}` with {arguments}; see there for the arguments."
    register(key, build, expected)
    return build


def list_models(filter: str = "*") -> list[str]:
    """Registered names that match a shell-style pattern such as `"resnet*d"`, sorted."""
    return sorted(fnmatch.filter(_MODELS, filter), key=lambda n: [int(p) if p.isdigit() else p for p in _parts(n)])


def _parts(name):
    """`"resnet101d"` -> `["resnet", "101", "d"]`, so that 50 sorts before 101."""
    return re.split(r"(\d+)", name)


def _entry(name):
    if name.startswith("<"):
        raise UserError(f"The model of this recipe is {name}, which was handed to kt.train and has no import path. Put "
                        "the function into a module and set model.name=mypackage.nets:build; to resume the run, pass "
                        "the function to kt.train again.")
    if name not in _MODELS:
        raise UserError(f"There is no model {name!r}.{nearest(name, _MODELS)} `keras-tricks list models` shows all.")
    return _MODELS[name]


def create_model(name: str | Callable[..., keras.Model], **kwargs: Any) -> keras.Model:
    """Builds a registered model, or one of a function of your own; see `keras_tricks/models/own.py`.

    Args:
        name: registry key, for instance `"resnet50d"`; or a function `build(input_shape, classes)` that returns a
            `keras.Model` with logits, or its import path, for instance `"mypackage.nets:build"`.
        **kwargs: arguments of the family's builder (`include_top, weights, input_shape, classes, ...`). `num_classes`
            is an alias of `classes`. `pretrained=True`, and `weights="pretrained"`, load the checkpoint with the
            highest top-1 that is known for the model, see `keras_tricks/weights/pretrained.py`.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: an unknown name (the message suggests the nearest one) or an unknown argument.
    """
    if "num_classes" in kwargs:
        if "classes" in kwargs:
            raise UserError("`classes` and `num_classes` have the same meaning: pass only one of them.")
        kwargs["classes"] = kwargs.pop("num_classes")
    if callable(name) or is_import_path(name):
        build, shown = (name, own.name_of(name)) if callable(name) else (own.load_builder(name), name)
        if kwargs.pop("classifier_activation", None) is not None:
            raise UserError(f"{shown} returns logits: leave out `classifier_activation`, or pass None.")
        return own.create_own_model(build, shown, **kwargs)
    entry = _entry(name)
    wanted = kwargs.pop("pretrained", False)
    if wanted not in (True, False) or (wanted and kwargs.get("weights") is not None):
        raise UserError("`pretrained` is True or False, and chooses the weights itself: pass a name as `weights`, "
                        f"without `pretrained`. Received: pretrained={wanted!r}, weights={kwargs.get('weights')!r}")
    if wanted or kwargs.get("weights") == "pretrained":
        kwargs["weights"] = pretrained.best(name)
        log.info("weights of %s: %s", name, kwargs["weights"])
    known = inspect.signature(entry.build).parameters
    for argument in kwargs:
        if argument not in known:
            raise UserError(f"{name} has no argument `{argument}`.{nearest(argument, known)} "
                            f"It takes: {', '.join(known)}.")
    return entry.build(**kwargs)


def model_info(name: str) -> ModelInfo:
    """The `ModelInfo` of a registered model; the defaults for an import path. Raises `UserError` for other names."""
    if is_import_path(name):
        return ModelInfo(name, "")
    return _entry(name).info


def defaults_of(name: str) -> dict[str, Any]:
    """{argument: default} of `create_model` for a model; `{}` for a function of the user. Raises as `model_info`."""
    if is_import_path(name) or name.startswith("<"):
        return {}
    parameters = inspect.signature(_entry(name).build).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def arguments_of(name: str) -> tuple[str, ...]:
    """Names of the arguments that `create_model` takes for a model. Raises `UserError` as `model_info`."""
    if is_import_path(name):
        return tuple(inspect.signature(own.load_builder(name)).parameters)
    return tuple(inspect.signature(_entry(name).build).parameters)
