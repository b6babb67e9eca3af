"""The model card of an export: a README.md that describes the model and the source of its numbers."""

import dataclasses
import pathlib
import typing

import keras

from keras_tricks.export.stock import needs_package
from keras_tricks.weights import find

OPENED_BY = {
    "keras": "`keras.models.load_model(path)`",
    "saved_model": "`model = tf.saved_model.load(path)`, `model.serve(pixels)`; signatures `serving_default`, "
                   "`serving_bytes`",
    "feature_vector": "as the SavedModel; a vector for each image",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT, one image at a time",
    "litert_int8": "LiteRT, 8-bit integers inside",
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network to export, its source and its results.

    Attributes:
        name: name of the model.
        network: `keras.Model` that returns logits.
        data: the `data` section of a recipe, which describes the preprocessing.
        class_names: list of strings, or `None`.
        weights: file or name of the weights.
        recipe: `Recipe` of the run that trained them, or `None`.
        summary: rows of the `summary.csv` of that run.
        run_weights: `RunWeights` of that run, see `run/weights.py`, or `None` if the weights are of another source.
    """

    name: str
    network: keras.Model
    data: typing.Any
    class_names: list | None
    weights: str
    recipe: typing.Any = None
    summary: tuple = ()
    run_weights: typing.Any = None


def model_card(exported, written, license="", dtype="float32", folded=False, agreement=None):
    """The model card as Markdown: the model, its inputs and outputs, and the source of its numbers.

    Args:
        exported: `Exported`.
        written: {format: path}.
        license: license of the weights, such as `"apache-2.0"`; `""` if not stated. Defaults to `""`.
        dtype: precision policy of the model. Defaults to `"float32"`.
        folded: bool, whether batch normalization is folded. Defaults to `False`.
        agreement: sentence about the 8-bit model, or `None`. Defaults to `None`.
    """
    data = exported.data
    rows = [
        ("input", f"RGB pixels 0-255, float32, {data.test_size} x {data.test_size}"),
        ("preprocessing", _crop(data)),
        ("normalization", "inside the model"),
        ("output", "probabilities, float32"),
        ("computes in", dtype),
        ("batch normalization", "folded into the convolutions" if folded else "as trained"),
    ]
    if exported.recipe is not None:
        about = exported.recipe.about
        rows.append(("recipe", f"{exported.recipe.name} {about.paper}".strip()))
        rows += [("follows", about.follows)] if about.follows else []
        rows += [("differs", f"`{key}`: {reason}") for key, reason in about.differs.items()]
    chosen = exported.run_weights
    if chosen is not None and (top1 := chosen.top1(exported.summary)):
        of = ", averaged weights" if chosen.averaged else ""
        rows.append(("validation top-1", f"{top1} % (epoch {chosen.epoch} of {len(exported.summary)}{of})"))
    if agreement:
        rows.append(("8-bit model: same top-1", agreement))
    if info := find(exported.weights).info:
        rows.append(("weights", info.origin))
    rows.append(("licence", license or "not stated"))
    source = pathlib.Path(exported.weights).name
    lines = [f"# {exported.name}", "", f"Exported by keras_tricks with keras {keras.__version__} from `{source}`.", "",
             "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)]
    lines += ["", "| file | opened by |", "|---|---|"]
    lines += [f"| `{path.name}` | {_opened_by(name, path)} |" for name, path in written.items()]
    return "\n".join(lines) + "\n"


def _opened_by(name, path):
    if name == "keras" and needs_package(path):
        return f"`import keras_tricks`, then {OPENED_BY[name]}; with `--fold` Keras alone opens it"
    return OPENED_BY[name]


def is_own_card(path):
    """Whether a README.md was written by `model_card`, or does not exist."""
    if not path.is_file():
        return not path.exists()
    return "Exported by keras_tricks" in path.read_text(errors="replace")


def _crop(data):
    return {
        "short_side": f"short side {data.short_side}, centre {data.test_size}",
        "center": f"centre {100 * data.crop_pct:g} % of the short side",
        "squash": f"squashed to {data.test_size + data.crop_padding}, centre {data.test_size}",
        "whole": "the whole image",
    }[data.eval_crop] + f", {data.interpolation}"
