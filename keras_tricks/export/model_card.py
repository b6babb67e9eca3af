"""The model card beside an export: a README.md of what the model is and where its numbers come from."""

import dataclasses
import pathlib
import typing

import keras

from keras_tricks.weights import find

OPENED_BY = {
    "keras": "`import keras_tricks; keras.models.load_model(path)`",
    "saved_model": "`model = tf.saved_model.load(path)`, `model.serve(pixels)`; signatures `serving_default`, "
                   "`serving_bytes`",
    "feature_vector": "as the SavedModel; a vector for each image",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT, one image at a time",
    "litert_int8": "LiteRT, 8-bit integers inside",
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network to export, what it was made from, and what it scored.

    Attributes:
        name: of the model.
        network: `keras.Model` that returns logits.
        data: the `data` section of a recipe, its preprocessing.
        class_names: list of strings, or `None`.
        weights: file or name they come from.
        recipe: `Recipe` of the run they come from, or `None`.
        summary: the rows of the run's `summary.csv`.
    """

    name: str
    network: keras.Model
    data: typing.Any
    class_names: list | None
    weights: str
    recipe: typing.Any = None
    summary: tuple = ()


def model_card(what, written, license="", dtype="float32", folded=False, agreement=None):
    """The model card as Markdown: what the model is, its inputs and outputs, and where its numbers come from.

    Args:
        what: `Exported`.
        written: {form: path}.
        license: of the weights, such as `"apache-2.0"`; `""`: not stated.
        dtype: precision policy it computes in.
        folded: bool, whether batch normalization is folded.
        agreement: sentence about the 8-bit model, or `None`.
    """
    data = what.data
    rows = [
        ("input", f"RGB pixels 0-255, float32, {data.test_size} x {data.test_size}"),
        ("preprocessing", _crop(data)),
        ("normalization", "inside the model"),
        ("output", "probabilities, float32"),
        ("computes in", dtype),
        ("batch normalization", "folded into the convolutions" if folded else "as trained"),
    ]
    if what.recipe is not None:
        rows.append(("recipe", f"{what.recipe.name} {what.recipe.about.paper}".strip()))
    if scored := [row for row in what.summary if row["top1"]]:
        best = max(scored, key=lambda row: float(row["top1"]))
        rows.append(("validation top-1", f"{best['top1']} % (epoch {best['epoch']} of {len(what.summary)})"))
    if agreement:
        rows.append(("8-bit model: same top-1", agreement))
    if info := find(what.weights).info:
        rows.append(("weights", info.origin))
    rows.append(("licence", license or "not stated"))
    source = pathlib.Path(what.weights).name
    lines = [f"# {what.name}", "", f"Exported by keras_tricks with keras {keras.__version__} from `{source}`.", "",
             "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)]
    lines += ["", "| file | opened by |", "|---|---|"]
    lines += [f"| `{path.name}` | {OPENED_BY[form]} |" for form, path in written.items()]
    return "\n".join(lines) + "\n"


def is_own_card(path):
    """Whether a README.md was written by `model_card`, or does not exist."""
    return not path.exists() or "Exported by keras_tricks" in path.read_text(errors="replace")


def _crop(data):
    return {
        "short_side": f"short side {data.short_side}, centre {data.test_size}",
        "center": f"centre {100 * data.crop_pct:g} % of the short side",
        "squash": f"squashed to {data.test_size + data.crop_padding}, centre {data.test_size}",
        "whole": "the whole image",
    }[data.eval_crop] + f", {data.interpolation}"
