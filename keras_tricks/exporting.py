"""`keras-tricks export`: a run, or a model of the zoo with weights, written for others, with a model card beside it."""

import dataclasses
import functools
import json
import pathlib

import keras
import numpy as np

from keras_tricks import evaluation, export, publishing, training
from keras_tricks.callbacks.run_log import read_summary
from keras_tricks.errors import UserError, check_choice
from keras_tricks.export import lite
from keras_tricks.files import replaced, writable_folder
from keras_tricks.recipe import Data, Recipe
from keras_tricks.weights import find, load

EXAMPLES = 100  # images from which integers learn their ranges


@dataclasses.dataclass(frozen=True)
class Exported:
    """What is written: a network that returns logits, what it was made from, and what it scored."""

    name: str  # of the model
    network: keras.Model
    data: Data  # its preprocessing
    class_names: list | None
    weights: str
    recipe: Recipe | None = None  # of the run it comes from
    summary: tuple = ()  # the run's epochs


@dataclasses.dataclass(frozen=True)
class Options:
    """How it is written.

    Attributes:
        formats: see `keras_tricks.export.export`.
        images: folder of images from which `"litert_int8"` learns its ranges. Defaults to training images of the run.
        fold: bool, fold what only training needs into plain convolutions.
        dtype: precision policy the exported model computes in. Defaults to `"float32"`.
        overwrite: bool, write over forms that are there.
        layout: `"huggingface"` or `"kaggle"`: a folder in their layout, see `keras_tricks/publishing.py`.
        license: of the weights, such as `"apache-2.0"`. Defaults to what they say of themselves.
        owner: account on Kaggle.
    """

    formats: tuple
    images: str | None = None
    fold: bool = False
    dtype: str = "float32"
    overwrite: bool = False
    layout: str | None = None
    license: str = ""
    owner: str = ""

    def __post_init__(self):
        for name in self.formats:
            check_choice("formats", name, export.FORMS)
        if self.fold and self.dtype != "float32":
            raise UserError(f"--fold writes float32. Received: --dtype {self.dtype}")


def of_run(folder, options, output=None, weights=None):
    """Exports a run: its best checkpoint, whatever precision it was trained in.

    Args:
        folder: run folder.
        options: `Options`.
        output: folder. Defaults to `<run>/export`.
        weights: file. Defaults to the run's best checkpoint.

    Returns:
        {format: path}.

    Raises:
        UserError: no finished run, a form that is there already, a package that is missing.
    """
    folder = pathlib.Path(folder)
    recipe, best = evaluation.of_run(folder)
    output = free_folder(output or folder / "export", options)
    names = folder / "export" / "classes.json"
    names = json.loads(names.read_text()) if names.is_file() else training.open_data(recipe.data).class_names
    with export.precision(options.dtype):
        network = training.build_network(recipe.replace(model={"weights": None}), len(names))
    load(network, weights or best)
    examples = _examples(options.images, recipe) if "litert_int8" in options.formats else None
    what = Exported(recipe.model.name, network, recipe.data, names, weights or best, recipe, read_summary(folder))
    return write(what, options, output, examples)


def of_model(name, options, output, weights):
    """Exports a model of the zoo with published weights; arguments as `of_run`."""
    if weights is None or output is None:
        raise UserError(f"To export {name}, give --weights and --output; or name the folder of a run.")
    if "litert_int8" in options.formats and options.images is None:
        raise UserError("`litert_int8` learns its ranges from images: give --images FOLDER, or export a run.")
    recipe = evaluation.of_model(name, weights)
    output = free_folder(output, options)
    network, names = evaluation.network_of(recipe, weights, options.dtype)
    examples = _examples(options.images, recipe) if options.images else None
    return write(Exported(name, network, recipe.data, names, weights), options, output, examples)


def write(what, options, output, examples):
    """Writes the forms, the card and what a hub wants beside them. Returns {format: path}."""
    from keras_tricks.data import evaluation_image

    network = export.fold(what.network) if options.fold else what.network
    model = export.deployable(lambda: network, network, what.data, options.dtype)
    preprocess = functools.partial(evaluation_image, data=what.data)
    written = export.export(model, output, options.formats, what.class_names, preprocess, examples)
    info = find(what.weights).info
    license = options.license or (info.license if info else "")
    text = card(what, options, license, written, _agreement(written, model, examples))
    if options.layout == "kaggle":
        return publishing.kaggle(output, what, written, text, license, options.owner)
    if options.layout == "huggingface":
        text = publishing.hugging_face(output, what, text, license)
    with replaced(output / "README.md") as partial:
        partial.write_text(text)
    return written


def free_folder(path, options):
    """The folder, made. Raises `UserError` when it cannot be, or when a form is in it already, unless `overwrite`."""
    output = writable_folder(path)
    names = [*(export.FORMS[name] for name in options.formats), *publishing.FILES.get(options.layout, ())]
    there = ["README.md"] if not ours(output / "README.md") else []
    there += [name for name in names if (output / name).exists()]
    if there and not options.overwrite:
        raise UserError(f"{output} holds {', '.join(there)} already: give --output another folder, or --overwrite.")
    return output


def ours(readme):
    """Whether a README.md is a card written by `card`, or does not exist."""
    return not readme.exists() or "Exported by keras_tricks" in readme.read_text(errors="replace")


def _examples(folder, recipe):
    """Up to 100 images of a folder, else training images, as the network is shown them when it is evaluated."""
    import tensorflow as tf

    from keras_tricks.data import evaluation_image
    from keras_tricks.data.image_folder import SUFFIXES

    if folder is not None:
        files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"--images {folder} holds no images ({', '.join(sorted(SUFFIXES))}).")
        chosen = np.linspace(0, len(files) - 1, min(EXAMPLES, len(files))).astype("int64")
        return np.stack([evaluation_image(tf.io.read_file(str(files[i])), recipe.data) for i in chosen])
    split = training.open_data(recipe.data).train
    if split.fetch is None:
        stream = split.scan(tf.constant(0, tf.int64), None).take(EXAMPLES)
        return np.stack([evaluation_image(image, recipe.data) for _, image, *_ in stream])
    numbers = np.linspace(0, split.num_examples - 1, min(EXAMPLES, split.num_examples)).astype("int64")
    return np.stack([evaluation_image(split.fetch(i)[0], recipe.data) for i in numbers])


def _agreement(written, model, examples):
    """How often the 8-bit model names the class that the exact one names: a sentence, or `None`."""
    if "litert_int8" not in written:
        return None
    exact = np.argmax(model.predict(examples, verbose=0), axis=-1)
    share = np.mean(exact == np.argmax(lite.predict(written["litert_int8"], examples), axis=-1))
    return f"{100 * share:.1f} % of {len(examples)} images, those its ranges were learned from"


def card(what, options, license, written, agreement):
    """The model card, Markdown: what the model is, what goes in and comes out, where its numbers come from."""
    data = what.data
    rows = [
        ("input", f"RGB pixels 0-255, float32, {data.test_size} x {data.test_size}"),
        ("preprocessing", _crop(data)),
        ("normalization", "inside the model"),
        ("output", "probabilities, float32"),
        ("computes in", options.dtype),
        ("batch normalization", "folded into the convolutions" if options.fold else "as trained"),
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
             "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)]  # fmt: skip
    lines += ["", "| file | opened by |", "|---|---|"]
    lines += [f"| `{path.name}` | {OPENED_BY[form]} |" for form, path in written.items()]
    return "\n".join(lines) + "\n"


OPENED_BY = {
    "keras": "`import keras_tricks; keras.models.load_model(path)`",
    "saved_model": "`model = tf.saved_model.load(path)`, `model.serve(pixels)`; signatures `serving_default`, "
                   "`serving_bytes`",
    "feature_vector": "as the SavedModel; a vector for each image",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT, one image at a time",
    "litert_int8": "LiteRT, 8-bit integers inside",
}  # fmt: skip


def _crop(data):
    return {
        "short_side": f"short side {data.short_side}, centre {data.test_size}",
        "center": f"centre {100 * data.crop_pct:g} % of the short side",
        "squash": f"squashed to {data.test_size + data.crop_padding}, centre {data.test_size}",
        "whole": "the whole image",
    }[data.eval_crop] + f", {data.interpolation}"
