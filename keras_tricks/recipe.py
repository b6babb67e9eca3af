"""A recipe: everything a training run needs, as plain values in the order the data flow.

    data -> augment -> model -> loss -> optimizer -> schedule -> train -> export

A recipe file under `recipes/` builds one `RECIPE = Recipe(...)`. It prints as JSON and reads JSON back, so the
`recipe.json` of a finished run trains again.
"""

import importlib.util
import json
import pathlib
import typing

import pydantic

from keras_tricks.utils import imagenet
from keras_tricks.utils.errors import UserError, nearest

Triple = tuple[float, float, float]
Pair = tuple[float, float]
Rate = typing.Annotated[float, pydantic.Field(ge=0, lt=1)]
Positive = typing.Annotated[int, pydantic.Field(gt=0)]
Natural = typing.Annotated[int, pydantic.Field(ge=0)]


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False,
                                       validate_default=True)


class About(Section):
    """Where the recipe comes from and what to expect of it. `top1` is in percent."""

    paper: str = ""
    expected_top1: float | None = None
    expected_from: str = ""
    measured: bool = False  # true: a run of this repository is in docs/results
    note: str = ""


class Data(Section):
    """Where images come from and how large they are. `mean` and `std` are on the 0-255 scale."""

    source: str = "digits"
    data_dir: str | None = None
    train_split: str = "train"
    validation_split: str | None = None
    minival: Rate = 0.0  # share of the training images to tune on: held out, validated on; 0: the validation split
    train_images: Positive | None = None  # train on so many, evenly chosen; None: all
    image_size: Positive = 224
    test_image_size: Positive | None = None  # None: as image_size
    eval_crop: typing.Literal["short_side", "center", "squash", "whole"] = "short_side"  # see docs/data.md
    short_side: Positive = 256  # "short_side": its pixels before the centre crop (Bag of Tricks)
    crop_pct: float = pydantic.Field(0.875, gt=0, le=1)  # "center": share of the short side (ResNet-RS)
    crop_padding: Natural = 32  # "squash": pixels that both sides have more before the centre crop (NFNets)
    interpolation: typing.Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = False
    mean: Triple = imagenet.MEAN
    std: Triple = imagenet.STD
    max_bad_images: Natural = 100
    workers: Natural = 0  # parallel calls of the pipeline; 0: two for each CPU
    service: str | None = None  # "grpc://host:port" of a tf.data service that makes the training batches; None: here

    @pydantic.model_validator(mode="after")
    def _crop_fits(self):
        if self.eval_crop == "short_side" and self.test_size > self.short_side:
            raise ValueError(f"short_side {self.short_side} is smaller than the {self.test_size} pixels cut from it")
        return self

    @pydantic.field_validator("service")
    @classmethod
    def _is_an_address(cls, address):
        host, _, port = (address or "grpc://host:1").removeprefix("grpc://").rpartition(":")
        if not host or "/" in host or not (port.isdigit() and 0 < int(port) < 65536):
            raise ValueError("expected the address of a dispatcher, such as grpc://host:5050")
        return address and f"grpc://{host}:{port}"

    @property
    def test_size(self):
        return self.test_image_size or self.image_size


class Augment(Section):
    """What happens to a training image and to a batch."""

    crop: typing.Literal["random_resized", "pad", "none"] = "random_resized"
    crop_area: Pair = (0.08, 1.0)
    crop_aspect: Pair = (3 / 4, 4 / 3)
    pad: Natural = 4
    pad_mode: typing.Literal["REFLECT", "CONSTANT"] = "REFLECT"
    flip: bool = True
    color_jitter: typing.Literal["none", "paper", "gluoncv"] = "none"
    color_jitter_strength: float = pydantic.Field(0.4, ge=0, le=1)
    pca_noise: float = pydantic.Field(0.0, ge=0)  # standard deviation; 0.1 in the paper
    rand_augment_layers: Natural = 0
    rand_augment_magnitude: float = pydantic.Field(10.0, ge=0)  # on a scale of 10; more is allowed
    rand_augment_probability: float = pydantic.Field(1.0, ge=0, le=1)  # of each operation; 0.5 in timm
    rand_augment_translate: float = pydantic.Field(100.0, ge=0)  # pixels at magnitude 10
    mixup_alpha: float = pydantic.Field(0.0, ge=0)  # 0: no mixup; 0.2 in the paper
    cutmix_alpha: float = pydantic.Field(0.0, ge=0)  # 0: no CutMix; 1 in the paper
    mixup_per: typing.Literal["batch", "sample"] = "batch"  # one lambda for the batch or for each image
    mix_both: typing.Literal["halves", "either"] = "halves"  # with both alphas: on half of the batch each, or in turn
    mix_first: bool = False  # before RandAugment, with partners from a second pass over the data (NFNets)
    mix_off_epoch: Natural | None = None  # no mixing from this epoch on

    @pydantic.field_validator("crop_area", "crop_aspect")
    @classmethod
    def _range(cls, pair, info):
        if not 0 < pair[0] <= pair[1] or (info.field_name == "crop_area" and pair[1] > 1):
            raise ValueError("expected (low, high) with 0 < low <= high" + (" <= 1" * (info.field_name == "crop_area")))
        return pair


class Model(Section):
    """Which network. `options` are further arguments of its builder."""

    name: str = "resnet50d"
    classes: Positive | None = None  # None: as the data
    weights: str | None = None  # file, or name such as timm/resnet50d.ra2_in1k; a classifier of other classes is new
    freeze: tuple[str, ...] = ()  # parts that are not trained: stem, stage1, stage2_block1, ...
    freeze_norms: bool = False  # all normalization layers, with their statistics
    zero_gamma: bool = False
    options: dict[str, typing.Any] = {}


class Loss(Section):
    """Cross entropy with smoothed labels, and a teacher if there is one."""

    label_smoothing: Rate = 0.0
    smoothing: typing.Literal["others", "uniform"] = "others"
    teacher: str | None = None  # registry key
    teacher_weights: str | None = None
    teacher_options: dict[str, typing.Any] = {}
    temperature: float = pydantic.Field(20.0, gt=0)


class Optimizer(Section):
    """SGD with momentum, whose decay is coupled (L2), or Keras' Adam, whose decay is decoupled.

    With `no_bias_decay` the decay spares biases and norm parameters.
    """

    name: typing.Literal["sgd", "adam"] = "sgd"
    momentum: Rate = 0.9  # Adam: of the first moment
    nesterov: bool = True
    weight_decay: float = pydantic.Field(1e-4, ge=0)
    no_bias_decay: bool = False
    agc_clip_factor: float = pydantic.Field(0.0, ge=0)  # adaptive gradient clipping; 0: none
    agc_exclude: str = "classifier"
    accumulation_steps: Positive = 1  # batches per update; schedule.batch_size counts them all together
    ema_decay: Rate = 0.0  # average of all weights, evaluated beside them; 0: none


class Schedule(Section):
    """Batch size and learning rate over the epochs. `batch_size` counts all devices together.

    `mode` turns the decay into growth of the batch with the same noise scale, see `kt.schedules.batch_size_plan`.
    """

    epochs: Positive = 120
    batch_size: Positive = 256
    base_learning_rate: float = pydantic.Field(0.1, gt=0)
    base_batch_size: Positive = 256
    warmup_epochs: float = pydantic.Field(0, ge=0)
    decay: typing.Literal["step", "cosine", "constant"] = "step"
    milestones: tuple[float, ...] = (30, 60, 90)
    factor: float = pydantic.Field(0.1, gt=0, lt=1)
    mode: typing.Literal["decay", "hybrid", "increase_batch"] = "decay"
    growth_factor: float | None = pydantic.Field(None, gt=1)  # None: 1 / factor for steps, else 2
    max_batch_size: Positive | None = None  # None: a tenth of the data


class Train(Section):
    """How the machine runs it."""

    strategy: typing.Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    logical_devices: Positive | None = None  # slices of the CPU, to try "mirrored" without GPUs
    max_batch_per_replica: Positive | None = None  # larger batches are accumulated; None: never
    static_shapes: bool = False  # one `fit` for each batch size, for devices that cannot change shapes; always on a TPU
    precision: typing.Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    deterministic: bool = True
    eval_batch_size: Positive | None = None  # None: as batch_size
    evaluate_every: Positive = 1  # epochs
    steps_per_execution: Positive = 1
    jit_compile: bool = False
    checkpoint_minutes: float = pydantic.Field(15.0, gt=0)  # at most so much is lost; after every epoch in any case
    checkpoint_steps: Positive | None = None  # also after so many steps of an epoch
    keep_checkpoints: Positive = 2
    stall_minutes: float = pydantic.Field(10.0, gt=0)  # without a step before the log says so
    skip_non_finite: bool = False  # leave updates out whose gradient is not finite, as float16 does; else stop


class Export(Section):
    """What the finished model is written as."""

    formats: tuple[typing.Literal["keras", "saved_model", "feature_vector", "onnx", "litert"], ...] = (
        "keras", "saved_model")


class Recipe(Section):
    """One training run. Sections stand in data-flow order."""

    name: str = "recipe"
    seed: int = 0
    about: About = About()
    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    train: Train = Train()
    export: Export = Export()

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise UserError(_explain(type(self), error)) from None

    def replace(self, **changes):
        """A recipe with some values changed.

        Args:
            **changes: by section, `schedule={"epochs": 200}`, or top level, `seed=1`.
        """
        values = self.model_dump()
        for key, change in changes.items():
            if isinstance(values.get(key), dict) and isinstance(change, dict):
                values[key] = {**values[key], **change}
            else:
                values[key] = change.model_dump() if isinstance(change, Section) else change
        return type(self)(**values)

    def override(self, assignments):
        """A recipe changed by `"section.key=value"` strings. Values are JSON, or plain text when they are not."""
        recipe = self
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"--set takes section.key=value, such as schedule.epochs=5. Received: {assignment!r}")
            value = _parse(text)
            for key in reversed(path.strip().split(".")[1:]):
                value = {key: value}
            section = path.strip().split(".")[0]
            recipe = recipe.replace(**{section: _merge(getattr(recipe, section, None), value)})
        return recipe

    def to_json(self):
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text, where="the JSON text"):
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{where} is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"{where} must hold a JSON object, the sections of a recipe.")
        return cls(**values)


def _parse(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _merge(section, value):
    """`{"options": {"stem": "cifar"}}` changes one option and keeps the others."""
    if not (isinstance(section, Section) and isinstance(value, dict)):
        return value
    return {k: {**old, **v} if isinstance(v, dict) and isinstance(old := getattr(section, k, None), dict) else v
            for k, v in value.items()}


def _explain(model, error):
    """The first fault in words: `schedule.epoch: unknown key. Did you mean "epochs"?`"""
    fault = error.errors()[0]
    path = ".".join(str(p) for p in fault["loc"])
    if fault["type"] == "extra_forbidden":
        owner = model
        for part in fault["loc"][:-1]:
            owner = owner.model_fields[part].annotation
        keys = list(owner.model_fields)
        return f"Recipe key `{path}` is unknown.{nearest(fault['loc'][-1], keys)} Known here: {', '.join(keys)}."
    return f"Recipe key `{path}`: {fault['msg'][:1].lower()}{fault['msg'][1:]}. Received: {fault['input']!r}."


def recipe_folders():
    """Where named recipes live: the checkout's `recipes/`, or the installed copy of it."""
    package = pathlib.Path(__file__).parent
    return [f for f in (package.parent / "recipes", package / "_recipes") if (f / "quickstart.py").is_file()]


def list_recipes():
    """Names of all recipes, such as `"bag_of_tricks/resnet50d"`, sorted."""
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in recipe_folders()
        for path in folder.rglob("*.py")
        if not path.name.startswith("_")
    }
    return sorted(names)


def load_recipe(name):
    """Finds a recipe by name, or reads a `.py` or `.json` file.

    Raises:
        UserError: nothing of that name (the nearest is suggested), or a file that holds no recipe.
    """
    path = pathlib.Path(name)
    if path.suffix == ".json" and path.is_file():
        return Recipe.from_json(path.read_text(), path)
    if path.suffix == ".py" and path.is_file():
        return _load_file(path, path.stem)
    for folder in recipe_folders():
        if (folder / f"{name}.py").is_file():
            return _load_file(folder / f"{name}.py", name)
    names = list_recipes()
    raise UserError(f"There is no recipe {name!r}.{nearest(name, names)} `keras-tricks list recipes` shows all; "
                    "a path to a .py or .json file works too.")


def _load_file(path, name):
    spec = importlib.util.spec_from_file_location(f"keras_tricks_recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except pydantic.ValidationError as error:
        sections = {f.annotation.__name__: f.annotation for f in Recipe.model_fields.values()}
        raise UserError(f"{path}: {_explain(sections[error.title], error)}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if not isinstance(getattr(module, "RECIPE", None), Recipe):
        raise UserError(f"{path} must define RECIPE = Recipe(...).")
    return module.RECIPE.replace(name=name)
