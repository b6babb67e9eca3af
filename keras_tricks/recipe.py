"""A recipe: everything that a training run needs, as plain values in the order of the data flow.

    data -> augment -> model -> loss -> optimizer -> schedule -> train -> export

A recipe file under `recipes/` defines one `RECIPE = Recipe(...)`. A recipe is written to JSON and read from it, so the
`recipe.json` of a finished run can be trained again.
"""

import importlib.util
import json
import os
import pathlib
import typing
from collections.abc import Iterable

import pydantic

from keras_tricks.utils import imagenet
from keras_tricks.utils.errors import UserError, nearest, nearest_path, one_line
from keras_tricks.utils.plain_values import check_plain, check_text, shown
from keras_tricks.utils.text import unique_keys

Pair = tuple[float, float]
PerChannel = typing.Annotated[tuple[float, ...], pydantic.Field(min_length=1)]
Rate = typing.Annotated[float, pydantic.Field(ge=0, lt=1)]
Positive = typing.Annotated[int, pydantic.Field(gt=0, lt=2**31)]
Natural = typing.Annotated[int, pydantic.Field(ge=0, lt=2**31)]
Pixels = typing.Annotated[int, pydantic.Field(gt=0, le=2**14)]
Steps = typing.Annotated[int, pydantic.Field(gt=0, le=2**20)]
Devices = typing.Annotated[int, pydantic.Field(gt=0, le=64)]
Text = typing.Annotated[str, pydantic.AfterValidator(check_text)]
Options = typing.Annotated[dict[str, typing.Any], pydantic.AfterValidator(check_plain)]


def _switch(value):
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError('expected "auto", true or false')


Switch = typing.Annotated[bool | typing.Literal["auto"], pydantic.BeforeValidator(_switch)]


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False,
                                       validate_default=True)


class About(Section):
    """The source of the recipe and its expected result. Top-1 is in percent."""

    paper: str = ""
    expected_top1: float | None = None
    expected_from: str = ""
    measured: bool = False  # true: docs/results has a run of this repository
    note: str = ""
    follows: str = ""  # the source of the values, such as "gluon-cv, train_imagenet.py"
    differs: dict[Text, Text] = {}  # {key: reason}, each value that is not that of recipes/reference/


class Data(Section):
    """The source of the images and their size. `mean` and `std` are on the 0-255 scale."""

    source: Text = "digits"
    data_dir: Text | None = None
    train_split: Text = "train"
    validation_split: Text | None = None
    image_column: Text | None = None  # of a CSV file or data set with columns; None: the usual name
    label_column: Text | None = None
    multi_label: bool = False  # an image has several labels, or none
    label_separator: typing.Annotated[Text, pydantic.Field(min_length=1)] = ";"  # between the labels in a text
    fingerprint: Text | None = None  # of data given to `kt.train`, whose source is "python": shapes, dtypes, checksum
    minival: Rate = 0.0  # share of the training images to hold out and validate on; 0: use the validation split
    sampling: typing.Literal["uniform", "balanced"] = "uniform"  # "balanced": as many images of each class in an epoch
    train_images: Positive | None = None  # number of evenly spaced images to train on; None: all
    channels: typing.Annotated[int, pydantic.Field(gt=0, le=1024)] = 3  # 1: grey; others: see docs/data.md
    image_size: Pixels = 224
    progressive_resizing: tuple[tuple[Pixels, Positive], ...] = ()  # (smaller size, epoch before which it is used)
    test_image_size: Pixels | None = None  # None: as image_size
    eval_crop: typing.Literal["short_side", "center", "squash", "whole"] = "short_side"  # see docs/data.md
    short_side: Pixels = 256  # "short_side": pixels of the short side before the centre crop (Bag of Tricks)
    crop_pct: float = pydantic.Field(0.875, gt=0, le=1)  # "center": share of the short side (ResNet-RS)
    crop_padding: Natural = 32  # "squash": pixels added to both sides before the centre crop (NFNets)
    interpolation: typing.Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = False
    mean: PerChannel = imagenet.MEAN  # of each channel, or one number for all
    std: PerChannel = imagenet.STD
    exif: typing.Literal["ignore", "apply"] = "ignore"  # the orientation of photographs, see docs/data.md
    max_bad_images: Natural = 100
    workers: int = pydantic.Field(0, ge=0, le=1024)  # parallel calls of the pipeline; 0: two per CPU
    service: Text | None = None  # "grpc://host:port" of a tf.data service that makes the training batches; None: off

    @pydantic.model_validator(mode="after")
    def _check_crop(self):
        if self.eval_crop == "short_side" and self.test_size > self.short_side:
            raise ValueError(f"short_side {self.short_side} is smaller than the {self.test_size} pixels cut from it")
        return self

    @pydantic.field_validator("mean", "std")
    @classmethod
    def _check_per_channel(cls, values, info):
        if len(values) not in (1, 3, info.data.get("channels", 3)):  # 3: the default, before data.mean is set
            raise ValueError(f"expected {info.data['channels']} numbers, one for each of `data.channels`, which must "
                             "be set before")
        if info.field_name == "std" and min(values) <= 0:
            raise ValueError("expected three numbers above 0")
        return values

    @pydantic.field_validator("service")
    @classmethod
    def _check_service(cls, address):
        host, _, port = (address or "grpc://host:1").removeprefix("grpc://").rpartition(":")
        if not host or "/" in host or not (port.isdigit() and 0 < int(port) < 65536):
            raise ValueError("expected the address of a dispatcher, such as grpc://host:5050")
        return address and f"grpc://{host}:{port}"

    @property
    def test_size(self):
        return self.test_image_size or self.image_size


class Augment(Section):
    """Augmentation of a training image and of a batch."""

    crop: typing.Literal["random_resized", "distorted", "pad", "none"] = "random_resized"
    crop_area: Pair = (0.08, 1.0)
    crop_aspect: Pair = (3 / 4, 4 / 3)
    crop_covered: Rate = 0.1  # "distorted": least share of the image, TensorFlow's min_object_covered
    pad: int = pydantic.Field(4, ge=0, le=2**14)
    pad_mode: typing.Literal["REFLECT", "CONSTANT"] = "REFLECT"
    flip: bool | typing.Literal["alternating"] = True  # by chance, or in every second epoch
    color_jitter: typing.Literal["none", "paper", "gluoncv"] = "none"
    color_jitter_strength: float = pydantic.Field(0.4, ge=0, le=1)
    pca_noise: float = pydantic.Field(0.0, ge=0)  # standard deviation; 0.1 in the paper
    rand_augment_layers: int = pydantic.Field(0, ge=0, le=100)
    rand_augment_magnitude: float = pydantic.Field(10.0, ge=0)  # on a scale of 10; larger values are allowed
    rand_augment_probability: float = pydantic.Field(1.0, ge=0, le=1)  # of applying each operation; 0.5 in timm
    rand_augment_translate: float = pydantic.Field(100.0, ge=0)  # pixels at magnitude 10
    rand_augment_increasing: bool = False  # timm's "inc1": all operations grow stronger with the magnitude
    rand_augment_magnitude_std: float = pydantic.Field(0.0, ge=0, le=10)  # of each operation, with the increasing ones
    trivial_augment: bool = False
    random_erasing: float = pydantic.Field(0.0, ge=0, le=1)  # probability; 0: off
    random_erasing_mode: typing.Literal["constant", "pixel"] = "constant"
    repeats: typing.Annotated[int, pydantic.Field(gt=0, le=64)] = 1  # augmented copies of each image in a batch
    mixup_alpha: float = pydantic.Field(0.0, ge=0)  # 0: no mixup; 0.2 in the paper
    cutmix_alpha: float = pydantic.Field(0.0, ge=0)  # 0: no CutMix; 1 in the paper
    mixup_per: typing.Literal["batch", "sample"] = "batch"  # one lambda per batch or per image
    mix_both: typing.Literal["halves", "either"] = "halves"  # with both: half of the batch each, or one per batch
    mix_first: bool = False  # before RandAugment, with partners from a second pass over the data (NFNets)
    mix_off_epoch: Natural | None = None  # no mixing from this epoch on

    @pydantic.field_validator("crop_area", "crop_aspect")
    @classmethod
    def _check_range(cls, pair, info):
        if not 0 < pair[0] <= pair[1] or (info.field_name == "crop_area" and pair[1] > 1):
            raise ValueError("expected (low, high) with 0 < low <= high" + (" <= 1" * (info.field_name == "crop_area")))
        return pair


class Model(Section):
    """The network. `options` are further arguments of its builder."""

    name: Text = "resnet50d"  # registry key, or import path of your own function: mypackage.nets:build
    classes: Positive | None = None  # None: those of the data
    weights: Text | None = None  # file, run or name such as timm/resnet50d.ra2_in1k; another classifier is reset
    freeze: tuple[Text, ...] = ()  # parts that are not trained: stem, stage1, stage2_block1, ...
    freeze_norms: bool = False  # all normalization layers, with their statistics
    zero_gamma: bool = False
    options: Options = {}


class Loss(Section):
    """Cross entropy, over all classes or of each class, with label smoothing and, optionally, a teacher."""

    name: typing.Literal["crossentropy", "binary_crossentropy"] = "crossentropy"
    target_threshold: Rate | None = None  # binary: labels above it become 1, others 0; None: as they are
    sum_classes: bool = False  # binary: sum over the classes instead of the mean
    label_smoothing: Rate = 0.0
    smoothing: typing.Literal["others", "uniform"] = "others"
    class_weight: str | dict[str, float] = "none"  # "none", "balanced", or {class name: weight}; classes left out: 1
    teacher: Text | None = None  # registry key
    teacher_weights: Text | None = None  # file or run folder
    teacher_options: Options = {}
    temperature: float = pydantic.Field(20.0, gt=0)

    @pydantic.field_validator("class_weight", mode="before")
    @classmethod
    def _check_class_weight(cls, weights):
        if isinstance(weights, dict):
            good = all(type(w) in (int, float) and 0 <= w < float("inf") for w in weights.values())
            good = good and all(isinstance(name, str) for name in weights)
        else:
            good = weights in ("none", "balanced")
        if not good:
            raise ValueError('expected "none", "balanced" or {"class name": weight >= 0}')
        return weights


class Optimizer(Section):
    """SGD with momentum or Muon, whose decay is coupled (L2), or Keras' Adam or Lamb, whose decay is decoupled.

    `no_bias_decay` excludes biases and normalization parameters from the decay.
    """

    name: typing.Literal["sgd", "adam", "lamb", "muon"] = "sgd"
    options: Options = {}  # further arguments of its class, such as {"epsilon": 1e-6}
    momentum: Rate = 0.9  # Adam, Lamb: decay of the first moment
    nesterov: bool = True
    weight_decay: float = pydantic.Field(1e-4, ge=0)
    no_bias_decay: bool = False
    agc_clip_factor: float = pydantic.Field(0.0, ge=0)  # adaptive gradient clipping; 0: off
    agc_exclude: Text = "classifier"
    lookahead_steps: Natural = 0  # updates between synchronizations with slow weights; 0: off
    lookahead_step_size: float = pydantic.Field(0.5, gt=0, le=1)
    sam_rho: float = pydantic.Field(0.0, ge=0)  # sharpness-aware minimization; 0: off, 0.05 in the paper
    sam_stride: Steps = 1  # its point is found with every n-th image
    accumulation_steps: Steps = 1  # micro-batches per update; schedule.batch_size is their sum
    ema_decay: Rate = 0.0  # decay of an average of all weights, which is evaluated as well; 0: off
    swa_epochs: Positive | None = None  # last epochs whose weights are averaged (SWA); None: off


class Schedule(Section):
    """Batch size and learning rate over the epochs. `batch_size` is the sum over all devices.

    `mode` replaces the decay by growth of the batch with the same noise scale, see `kt.schedules.batch_size_plan`.
    """

    epochs: int = pydantic.Field(120, gt=0, le=1_000_000)
    batch_size: Positive = 256
    base_learning_rate: float = pydantic.Field(0.1, gt=0)
    base_batch_size: Positive = 256
    warmup_epochs: float = pydantic.Field(0, ge=0)
    decay: typing.Literal["step", "cosine", "linear", "constant"] = "step"
    milestones: typing.Annotated[tuple[float, ...], pydantic.Field(max_length=1000)] = (30, 60, 90)
    factor: float = pydantic.Field(0.1, gt=0, lt=1)
    mode: typing.Literal["decay", "hybrid", "increase_batch"] = "decay"
    growth_factor: float | None = pydantic.Field(None, gt=1)  # None: 1 / factor for steps, else 2
    growth_exponent: float | None = pydantic.Field(None, gt=0, le=1)  # rate ~ batch^this; None: 1, Adam and LAMB 0.5
    max_batch_size: Positive | None = None  # None: a tenth of the training images


class Train(Section):
    """Devices, precision, evaluation and checkpoints of a run."""

    strategy: typing.Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    logical_devices: Devices | None = None  # virtual CPU devices, to try "mirrored" without GPUs
    max_batch_per_replica: Positive | None = None  # larger batches are accumulated; None: never
    static_shapes: bool = False  # one `fit` per batch size, for devices that need static shapes; always on a TPU
    precision: typing.Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    deterministic: Switch = "auto"  # auto: on a CPU, not on a GPU, where its kernels are slower
    eval_batch_size: Positive | None = None  # None: that of the first epoch
    evaluate_every: Positive = 1  # epochs
    steps_per_execution: Positive = 1  # steps of one call; more than 1: the learning rate changes once per call
    jit_compile: Switch = "auto"  # XLA. auto: on one GPU, not on a CPU; JAX always compiles
    checkpoint_minutes: float = pydantic.Field(15.0, gt=0)  # interval of checkpoints, besides one after every epoch
    checkpoint_steps: Positive | None = None  # further interval in steps of an epoch; None: off
    keep_checkpoints: int = pydantic.Field(2, gt=0, le=10_000)
    stall_minutes: float = pydantic.Field(10.0, gt=0)  # time without a step after which the log reports it
    callbacks: tuple[Text, ...] = ()  # import paths of functions that return callbacks: mypackage.hooks:make
    loggers: tuple[typing.Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ("tensorboard",)
    skip_non_finite: bool = False  # skip updates with a non-finite gradient, as float16 does; false: stop


class Export(Section):
    """The formats in which the finished model is exported."""

    formats: tuple[typing.Literal["keras", "saved_model", "feature_vector", "onnx", "litert"], ...] = (
        "keras", "saved_model")


class Recipe(Section):
    """One training run. Its sections are in data-flow order."""

    name: str = "recipe"
    seed: int = pydantic.Field(0, ge=0, lt=2**32)
    about: About = About()
    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    train: Train = Train()
    export: Export = Export()

    def __init__(self, /, **values):
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise UserError(_explain(type(self), error)) from None
        except RecursionError:
            raise UserError("The values of the recipe are nested too deeply.") from None
        if self.optimizer.ema_decay and self.train.steps_per_execution > 1:
            raise UserError("`optimizer.ema_decay` averages the weights after every update: set "
                            f"`train.steps_per_execution` to 1. Received: {self.train.steps_per_execution}.")

        averaged, epochs = self.optimizer.swa_epochs or 0, self.schedule.epochs
        if averaged > epochs:
            raise UserError(f"`optimizer.swa_epochs` is {averaged}, and the run has {epochs} epochs: average between 1 "
                            f"and {epochs} of them.")
        if self.optimizer.ema_decay and averaged:
            raise UserError("`optimizer.ema_decay` and `optimizer.swa_epochs` both give the run an average of its "
                            "weights: set one of them.")

    def replace(self, /, **changes: typing.Any) -> "Recipe":
        """A copy of the recipe with some values changed.

        Args:
            **changes: of a section, `schedule={"epochs": 200}`, or of the top level, `seed=1`.
        """
        values = self.model_dump()
        for key, change in changes.items():
            if isinstance(values.get(key), dict) and isinstance(change, dict):
                values[key] = {**values[key], **change}
            else:
                values[key] = change.model_dump() if isinstance(change, Section) else change
        return type(self)(**values)

    def override(self, assignments: Iterable[str]) -> "Recipe":
        """A copy changed by `"section.key=value"` strings. A value that is not valid JSON is taken as text."""
        recipe = self
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"--set takes section.key=value, such as schedule.epochs=5. Received: {assignment!r}")
            value = _parse(text)
            section, *keys = path.strip().split(".")
            if len(keys) > 10:
                raise UserError(f"--set takes section.key=value. Received: {shown(path)}, with {len(keys) + 1} parts.")
            for key in reversed(keys):
                value = {key: value}
            recipe = recipe.replace(**{section: _merge(getattr(recipe, section, None), value)})
        return recipe

    def to_json(self) -> str:
        """The recipe as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: object = "the JSON text") -> "Recipe":
        """Reads a recipe from JSON. `where` names the text in error messages.

        Raises:
            UserError: the text is not JSON, has an unknown key or an invalid value.
        """
        try:
            values = json.loads(text, object_pairs_hook=unique_keys)
        except UnicodeDecodeError:
            raise UserError(f"{where} is not text in UTF-8.") from None
        except RecursionError:
            raise UserError(f"{where} is nested too deeply.") from None
        except ValueError as error:  # also an integer of more than 4,300 digits
            reason = one_line(error) if text.strip() else "it is empty"
            raise UserError(f"{where} is not JSON: {reason}") from None
        if not isinstance(values, dict):
            raise UserError(f"{where} must hold a JSON object with the sections of a recipe.")
        return cls(**values)


def _parse(text):
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text, text)


def _merge(section, value):
    """Merges dicts, so that `{"options": {"stem": "cifar"}}` changes one option and keeps the others."""
    if not (isinstance(section, Section) and isinstance(value, dict)):
        return value
    return {k: {**old, **v} if isinstance(v, dict) and isinstance(old := getattr(section, k, None), dict) else v
            for k, v in value.items()}


def _explain(model, error):
    """The first error as a message: `schedule.epoch` is unknown. Did you mean "schedule.epochs"?"""
    fault = error.errors()[0]
    path = ".".join(str(p)[:100] for p in fault["loc"])
    if fault["type"] == "extra_forbidden":
        owner = model
        for part in fault["loc"][:-1]:
            owner = owner.model_fields[part].annotation
        keys, given = list(owner.model_fields), fault["input"]
        wanted = f"{path}.{next(iter(given))}" if isinstance(given, dict) and len(given) == 1 else path
        hint = nearest_path(wanted, recipe_keys() if model is Recipe else keys)
        if owner is Model and not hint:
            hint = f" An argument of the network is model.options.{fault['loc'][-1]}."
        return f"Recipe key `{path}` is unknown.{hint} Known here: {', '.join(keys)}."
    message = fault["msg"].removeprefix("Value error, ")
    return f"Recipe key `{path}`: {message[:1].lower()}{message[1:]}. Received: {shown(fault['input'])}."


def recipe_keys():
    """All keys: `["name", "seed", "about.paper", ..., "export.formats"]`."""
    found = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            found += [f"{name}.{key}" for key in section.model_fields]
        else:
            found.append(name)
    return found


def recipe_folders():
    """Folders of the named recipes: `recipes/` of the checkout, or its installed copy."""
    package = pathlib.Path(__file__).parent
    return [f for f in (package.parent / "recipes", package / "_recipes") if (f / "quickstart.py").is_file()]


def list_recipes() -> list[str]:
    """The sorted names of all recipes, such as `"bag_of_tricks/resnet50d"`."""
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in recipe_folders()
        for path in folder.rglob("*.py")
        if not path.name.startswith("_")
    }
    return sorted(names)


def load_recipe(name: str | os.PathLike) -> Recipe:
    """Loads a recipe by name, or from a `.py` or `.json` file.

    Raises:
        UserError: there is no recipe of that name (the nearest one is suggested), or the file has no valid recipe.
    """
    path = pathlib.Path(name)
    if path.suffix == ".json" and path.is_file():
        return read_recipe(path)
    if path.suffix == ".py" and path.is_file():
        return _load_file(path, path.stem)
    for folder in recipe_folders():
        if (folder / f"{name}.py").is_file():
            return _load_file(folder / f"{name}.py", name)
    raise UserError(f"There is no recipe {shown(str(name))}.{nearest(name, list_recipes())} `keras-tricks list "
                    "recipes` shows all; a path to a .py or .json file works too.")


def read_recipe(path: str | os.PathLike) -> Recipe:
    """Reads a recipe from a JSON file: UTF-8, with or without a byte order mark, or UTF-16.

    Raises:
        UserError: the file cannot be read, or has no valid recipe.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    return Recipe.from_json(content, path)


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
    except (Exception, SystemExit) as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(getattr(module, "RECIPE", None), Recipe):
        raise UserError(f"{path} must define RECIPE = Recipe(...).")
    return module.RECIPE.replace(name=name)
