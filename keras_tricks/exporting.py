"""`keras-tricks export`: a run, or a model of the zoo with weights, written for others, with a model card beside it."""

import functools
import json
import pathlib
import platform

import keras
import numpy as np

from keras_tricks import evaluation, export, models, training
from keras_tricks.callbacks.run_log import read_summary
from keras_tricks.errors import UserError, check_choice
from keras_tricks.files import replaced, writable_folder
from keras_tricks.recipe import Data
from keras_tricks.weights import find, load

EXAMPLES = 100  # images from which integers learn their ranges


def of_run(folder, formats, output=None, weights=None, fold=False, overwrite=False):
    """Exports a run: its best checkpoint, in float32 whatever it was trained in.

    Args:
        folder: run folder.
        formats: see `keras_tricks.export.export`.
        output: folder. Defaults to `<run>/export`.
        weights: file. Defaults to the run's best checkpoint.
        fold: bool, fold what only training needs into plain convolutions.
        overwrite: bool, write over forms that are there.

    Returns:
        {format: path}.

    Raises:
        UserError: no finished run, a form that is there already, a package that is missing.
    """
    folder = pathlib.Path(folder)
    recipe, best = evaluation.of_run(folder)
    output = free_folder(output or folder / "export", formats, overwrite)
    names = folder / "export" / "classes.json"
    names = json.loads(names.read_text()) if names.is_file() else training.open_data(recipe.data).class_names
    network = in_float32(lambda: training.build_network(recipe.replace(model={"weights": None}), len(names)))
    load(network, weights or best)
    examples = some_images(recipe) if "litert_int8" in formats else None
    written = write(network, recipe.data, names, formats, output, fold, examples)
    card(output, recipe.model.name, recipe.data, written, fold, weights or best, recipe, read_summary(folder))
    return written


def of_model(name, weights, formats, output, fold=False, overwrite=False):
    """Exports a model of the zoo with published weights; arguments as `of_run`. The classes have no names."""
    if weights is None or output is None:
        raise UserError(f"To export {name}, give --weights and --output; or name the folder of a run.")
    if "litert_int8" in formats:
        raise UserError("`litert_int8` learns its ranges from the images of a run: export a run.")
    output = free_folder(output, formats, overwrite)
    source, expects = find(weights), models.model_info(name)
    data = {"mean": expects.mean, "std": expects.std, "image_size": expects.test_input_size[0], "eval_crop": "center",
            "crop_pct": expects.crop_pct, "interpolation": expects.interpolation}  # fmt: skip
    classes = expects.num_classes
    if source.info is not None:
        data |= source.info.data() | {"image_size": source.info.test_image_size}
        classes = source.info.num_classes
    data = Data(**data)
    size = data.test_size
    network = in_float32(lambda: models.create_model(name, classes=classes, classifier_activation=None, weights=weights,
                                                     input_shape=(size, size, 3)))  # fmt: skip
    written = write(network, data, None, formats, output, fold, None)
    card(output, name, data, written, fold, weights)
    return written


def in_float32(build):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(policy)


def write(network, data, names, formats, output, fold, examples):
    """Writes a network that returns logits, with its preprocessing in front. Returns {format: path}."""
    from keras_tricks.data import evaluation_image

    network = export.fold(network) if fold else network
    model = export.deployable(lambda: network, network, data)
    return export.export(model, output, formats, names, functools.partial(evaluation_image, data=data), examples)


def free_folder(path, formats, overwrite):
    """The folder, made. Raises `UserError` when it cannot be, or when a form is in it already, unless `overwrite`."""
    for name in formats:
        check_choice("formats", name, export.FORMS)
    output = writable_folder(path)
    there = ["README.md"] if not ours(output / "README.md") else []
    there += [export.FORMS[name] for name in formats if (output / export.FORMS[name]).exists()]
    if there and not overwrite:
        raise UserError(f"{output} holds {', '.join(there)} already: give --output another folder, or --overwrite.")
    return output


def ours(readme):
    """Whether a README.md is a card written by `card`, or does not exist."""
    return not readme.exists() or "Exported by keras_tricks" in readme.read_text(errors="replace")


def some_images(recipe):
    """Up to 100 training images as the network is shown them when it is evaluated: float32, 0-255."""
    import tensorflow as tf

    from keras_tricks.data import evaluation_image

    split = training.open_data(recipe.data).train
    if split.fetch is None:
        stream = split.scan(tf.constant(0, tf.int64), None).take(EXAMPLES)
        return np.stack([evaluation_image(image, recipe.data) for _, image, *_ in stream])
    numbers = np.linspace(0, split.num_examples - 1, min(EXAMPLES, split.num_examples)).astype("int64")
    return np.stack([evaluation_image(split.fetch(i)[0], recipe.data) for i in numbers])


def card(output, name, data, written, fold, weights, recipe=None, summary=()):
    """Writes `README.md`: what the model is, what goes in and comes out, where its numbers come from."""
    lines = [f"# {name}", "", f"Exported by keras_tricks with keras {keras.__version__}, Python "
             f"{platform.python_version()}, from `{pathlib.Path(weights).name}`.", "",
             "| | |", "|---|---|", f"| input | RGB pixels 0-255, float32, {data.test_size} x {data.test_size} |",
             "| normalization | inside the model |", "| output | probabilities, float32 |",
             f"| batch normalization | {'folded into the convolutions' if fold else 'as trained'} |"]  # fmt: skip
    if recipe is not None:
        lines.append(f"| recipe | {recipe.name} {recipe.about.paper} |")
    if scored := [row for row in summary if row["top1"]]:
        best = max(scored, key=lambda row: float(row["top1"]))
        lines.append(f"| validation top-1 | {best['top1']} % (epoch {best['epoch']} of {len(summary)}) |")
    if info := find(weights).info:
        lines += [f"| weights | {info.origin} |", f"| licence of the weights | {info.license or 'not stated'} |"]
    opens = {"keras": "`import keras_tricks; keras.models.load_model(path)`",
             "saved_model": "`model = tf.saved_model.load(path)`, `model.serve(pixels)`; signatures `serving_default`, "
                            "`serving_bytes`",
             "feature_vector": "as the SavedModel; a vector for each image", "onnx": "ONNX Runtime",
             "litert": "LiteRT, one image at a time", "litert_int8": "LiteRT, 8-bit integers inside"}  # fmt: skip
    lines += ["", "| file | opened by |", "|---|---|"]
    lines += [f"| `{path.name}` | {opens[form]} |" for form, path in written.items()]
    with replaced(output / "README.md") as partial:
        partial.write_text("\n".join(lines) + "\n")
