"""Uses a finished run, or published weights: evaluates them on labelled images, or classifies image files."""

import logging
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from keras_tricks import models, training
from keras_tricks.analysis import ClassCounts, Evaluation, LabelCounts
from keras_tricks.export import deployable, precision, with_features
from keras_tricks.recipe import Data, Model, Recipe, load_recipe
from keras_tricks.run.failures import translate_data_errors
from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.run.log import log_preprocessing
from keras_tricks.run.process import own_process
from keras_tricks.run.weights import WHICH, resolve_weights, run_weights
from keras_tricks.utils import class_names
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.weights import find, load, pretrained

log = logging.getLogger("absl")

BATCH = 32  # images that `predict` classifies at once


def load_run(folder, which="best"):
    """The recipe of a run folder and the path of its weights, selected as in `run/weights.py`.

    Args:
        folder: run folder.
        which: `"best"`, `"last"` or `"raw"`. Defaults to `"best"`.

    Raises:
        UserError: it is not a run folder, or has no checkpoint.
    """
    return recipe_of(folder), run_weights(folder, which).path


def class_names_of_run(folder, recipe):
    """The class names of a run, a tuple: those it keeps, else those of its data."""
    return class_names.of_run(folder) or tuple(training.open_data(recipe.data).class_names)


def with_published_preprocessing(recipe, weights):
    """The recipe with the preprocessing that is published with the weights.

    Args:
        recipe: `Recipe`.
        weights: file or name, see `keras_tricks.weights.find`.
    """
    info = find(weights).info
    return recipe if info is None else recipe.replace(data=info.data())


def recipe_for_pretrained(name, weights):
    """A recipe for a model of the zoo with published weights. Their preprocessing takes precedence over the model's.

    Args:
        name: name of the model.
        weights: file or name, see `keras_tricks.weights.find`.
    """
    expects = models.model_info(name)
    recipe = Recipe(model=Model(name=name), data=Data(
        image_size=expects.test_input_size[0], eval_crop="center", crop_pct=expects.crop_pct, mean=expects.mean,
        std=expects.std, interpolation=expects.interpolation))
    info = find(weights).info
    return recipe if info is None else recipe.replace(data=info.data() | {"image_size": info.test_image_size})


# --- evaluate ---------------------------------------------------------------------------------------------------------


def evaluate(recipe: Recipe | str, weights: str | pathlib.Path, verbose: int = 0,
             views: str = "one") -> dict[str, float]:
    """Evaluates a recipe's network with the given weights on the validation split of its data.

    Classes are compared by name if the names of the weights are known.

    Args:
        recipe: name, path or `Recipe`.
        weights: file, name or run folder, see `keras_tricks.weights.find` and `keras_tricks/run/weights.py`.
        verbose: 0, 1 (bar) or 2 (one line), as in Keras.
        views: views of each image to average: `"one"`, `"flip"` (two) or `"flip_translate"` (six). Defaults to `"one"`.

    Returns:
        `{"loss": ..., "top1": ..., "top5": ...}`; the accuracies are in [0, 1]. With several labels an image `map` and
        `f1` replace `top5`.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    found = measure(recipe, resolve_weights(weights), recipe.data, verbose=verbose, views=views)
    further = {"top5": found.top5} if found.map is None else {"map": found.map, "f1": found.f1}
    return {"loss": found.loss, "top1": found.top1, **further}


def measure(recipe, weights, trained_on=None, mapping=None, verbose=0, views="one"):
    """Evaluates weights on the data of a recipe: all labelled images, or the validation split of a run's own data.

    Args:
        recipe: `Recipe`, with the data to evaluate on.
        weights: file or name, see `keras_tricks.weights.find`.
        trained_on: the `data` section that the weights were trained on. Its validation split is used if the recipe has
            the same data. Defaults to `None`: unknown, all images are used.
        mapping: {class of the data: class of the weights}, for names that differ. Defaults to `None`.
        verbose, views: as for `evaluate`.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: the data have classes that the weights do not have.
    """
    found, several = find(weights), recipe.data.multi_label
    with own_process("kt.evaluate"):
        ready, counts = training.prepare_evaluation(
            recipe, lambda: open_labelled(recipe.data, found, trained_on, mapping),
            LabelCounts if several else ClassCounts, views)
        load(ready.network, weights)
        batches = training.validation_batches(ready)
        with ready.devices.fit_scope(), translate_data_errors(ready.source):
            values = ready.trainer.evaluate(batches, verbose=verbose, return_dict=True)
        images, correct = counts.counts()
    bad = ready.source.validation.bad
    values = {name: float(value) for name, value in values.items()}
    further = {"map": values["map"], "f1": values["f1"], "count": counts.total()} if several else {}
    return Evaluation(values["loss"], values["top1"], values.get("top5"), tuple(ready.source.class_names), images,
                      correct, len(bad.reasons) if bad is not None else 0, **further)


def open_labelled(data, weights, trained_on, mapping):
    """A `Source` to evaluate on. Its labels are those of the weights, or its own if the weights do not name theirs."""
    from keras_tricks.data import Source

    known = weights.class_names
    if mapping and not known:
        raise UserError("--class-map names classes of the weights, whose names are unknown: they are neither of a run "
                        "nor in a config.json.")
    if mapping:
        class_names.places((), known, mapping)  # checks the map before the images are listed
    if data.source == "digits" and data.data_dir:
        raise UserError(f"The source digits reads no folder: add --set data.source=image_folder to evaluate on "
                        f"{data.data_dir}.")
    if data.minival or _is_same_data(data, trained_on):
        opened = training.open_data(data.model_copy(update={"train_images": None}))
        names, split = opened.class_names, opened.validation
    else:
        names = [*(mapping or ()), *(name for name in known if name not in (mapping or ()))]
        split = _open_all(data, names or None)
        names = names or training.class_names_of_data(data)
        names = names or tuple(f"class {i}" for i in range(int(split.labels.max()) + 1))  # a folder without names
    if not known:
        _check_count(weights, names)
    table = class_names.places(names, known, mapping) if known else range(len(names))
    split = split if tuple(table) == tuple(range(len(table))) else split.relabel(list(table), len(known or names))
    return Source(data.source, tuple(known or names), split, split)


def _check_count(weights, names):
    if weights.info and weights.info.num_classes != len(names):
        raise UserError(f"{weights.name} has {weights.info.num_classes:,} classes and does not name them, and the data "
                        f"have {len(names):,}: evaluate on images of all classes.")
    log.warning("%s does not name its classes: those of the data are taken in their order.", weights.name)


def _open_all(data, names):
    from keras_tricks.data import open_evaluation

    try:
        return open_evaluation(data, names)
    except UserError as error:
        if "has classes that" not in str(error):
            raise
        raise UserError(f'{error} Map them with --class-map FILE, a JSON object such as {{"folder name": "class of the '
                        'weights"}.') from None


def _is_same_data(data, other):
    keys = ("source", "train_split", "validation_split", "minival")
    if other is None or any(getattr(data, key) != getattr(other, key) for key in keys):
        return False
    folders = [d.data_dir and pathlib.Path(d.data_dir).expanduser().resolve() for d in (data, other)]
    return folders[0] == folders[1]


# --- predict ----------------------------------------------------------------------------------------------------------


def predict(what: str | pathlib.Path, paths: Iterable[str | pathlib.Path], top: int = 5,
            weights: str | pathlib.Path | None = None, assignments: Sequence[str] = (),
            failed: Callable | None = None, features: Callable | None = None
            ) -> Iterator[tuple[str | pathlib.Path, list[tuple[str, float]]]]:
    """Yields (path, [(label, probability), ...]) for image files.

    With several labels an image (`data.multi_label`) they are all labels with a probability above 0.5.

    Args:
        what: run folder, whose weights are used (see `run/weights.py`); or the name of a model, with `weights`.
        paths: image files.
        top: integer, number of labels for each image.
        weights: for a run `"best"`, `"last"` or `"raw"`; for a model a file, name or run folder, whose preprocessing is
            used.
        assignments: `"data.key=value"` strings that change the preprocessing of a model.
        failed: function `(path, reason)` called for a file that cannot be read. Defaults to `None`: an error.
        features: function called before each result with the input of the classifier, float32 `(features,)`, as the
            exported `feature_vector` returns it. Defaults to `None`.

    Raises:
        UserError: the run has no checkpoint, a model has no weights, or a file is not an image.
    """
    from keras_tricks.data import read_files

    is_folder = pathlib.Path(what).is_dir()
    model, data, classes = (_of_run if is_folder else _of_published_model)(what, weights, assignments)
    model = model if features is None else with_features(model)
    paths = list(paths)
    for batch in read_files(paths, data, BATCH):
        readable, pixels = [], []
        for path, found in batch:
            if not isinstance(found, Exception):
                readable.append(path)
                pixels.append(found)
            elif failed is None:
                raise UserError(f"{path} is not an image that can be read ({found}).")
            else:
                failed(path, str(found))
        if not readable:
            continue
        if len(paths) > BATCH:  # compiled, for one shape
            outputs = model.predict_on_batch(np.stack(pixels + pixels[:1] * (BATCH - len(pixels))))
        else:
            outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, model(np.stack(pixels), training=False))
        vectors, outputs = (readable, outputs) if features is None else outputs
        for path, vector, probabilities in zip(readable, vectors, outputs, strict=False):
            if features is not None:
                features(vector)
            best = probabilities.argsort()[::-1][: int((probabilities > 0.5).sum()) if data.multi_label else top]
            yield path, [(classes[i] if classes else f"class {i}", float(probabilities[i])) for i in best]


def _of_run(folder, weights, assignments):
    """(model, data section, class names) of a run, from its checkpoint; without checkpoints from its export."""
    folder, which = pathlib.Path(folder), weights or "best"
    if which not in WHICH or assignments:
        raise UserError("A run predicts with its own weights and preprocessing: leave out --weights (but for raw) and "
                        "--set, or give the name of a model instead of a run.")
    recipe, exported = recipe_of(folder), folder / "export" / "model.keras"
    names = class_names_of_run(folder, recipe)
    if not (folder / "checkpoints").is_dir() and exported.is_file() and which == "best":
        return keras.saving.load_model(exported, compile=False), recipe.data, names
    chosen = run_weights(folder, which)
    log.info("weights: %s", chosen)
    with precision("float32"):
        network = training.build_network(recipe, len(names), initial=False)
    load(network, chosen.path)
    return deployable(lambda: network, network, recipe.data), recipe.data, names


def _of_published_model(name, weights, assignments):
    if weights is None:
        if name not in models.list_models():
            hint = nearest(name, models.list_models())
            raise UserError(f"{name} is not a run folder, and no model has that name.{hint}")
        raise UserError(f"predict needs weights for {name}: give --weights FILE or NAME, or a run folder.")
    if is_run(weights):
        check_model_of_run(name, weights)
        return _of_run(weights, None, assignments)
    weights = pretrained.best(name) if weights == "pretrained" else weights
    published = recipe_for_pretrained(name, weights)
    recipe = published.override(assignments)
    log_preprocessing(recipe, published, weights, "model")
    network, labels = pretrained_network(recipe, weights)
    return deployable(lambda: network, network, recipe.data), recipe.data, labels


def check_model_of_run(name, folder):
    """Raises `UserError` unless a run is of the model of that name."""
    found = recipe_of(folder).model.name
    if name != found:
        raise UserError(f"The run {folder} is of {found}, not of {name}.")


def pretrained_network(recipe, weights, dtype="float32"):
    """(network, class names or `None`) of a recipe made by `recipe_for_pretrained`: logits out, with its weights."""
    found, size = find(weights), recipe.data.test_size
    names = list(found.class_names)
    classes = found.info.num_classes if found.info else len(names)
    classes = classes or models.model_info(recipe.model.name).num_classes
    with precision(dtype):
        network = models.create_model(recipe.model.name, classes=classes, classifier_activation=None, weights=weights,
                                      input_shape=(size, size, 3))
    return network, names or (list(pretrained.imagenet_names()) if classes == 1000 else []) or None
