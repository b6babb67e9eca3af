"""A finished run, used: measured again on its validation split, or asked about image files."""

import json
import logging
import pathlib

import keras
import numpy as np

from keras_tricks import models, training
from keras_tricks.export import deployable, precision
from keras_tricks.recipe import Data, Model, Recipe, load_recipe
from keras_tricks.run.folder import recipe_of
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.weights import find, load

log = logging.getLogger("absl")


def load_run(folder):
    """The recipe of a run folder and the path of its best (else last) checkpoint."""
    folder, recipe = pathlib.Path(folder), recipe_of(folder)
    for name in ("best", "last"):
        path = folder / "checkpoints" / f"{name}.safetensors"
        if path.is_file():
            return recipe, path
    raise UserError(f"{folder} has no checkpoint yet: its first epoch did not finish.")


def as_published(recipe, weights):
    """The recipe with the preprocessing that published weights say they want.

    Args:
        recipe: `Recipe`.
        weights: file or name, see `keras_tricks.weights.find`.
    """
    info = find(weights).info
    return recipe if info is None else recipe.replace(data=info.data())


def recipe_for_pretrained(name, weights):
    """A recipe for a model of the zoo with published weights: their preprocessing before the model's own.

    Args:
        name: of the model.
        weights: file or name, see `keras_tricks.weights.find`.
    """
    expects = models.model_info(name)
    recipe = Recipe(model=Model(name=name), data=Data(
        image_size=expects.test_input_size[0], eval_crop="center", crop_pct=expects.crop_pct, mean=expects.mean,
        std=expects.std, interpolation=expects.interpolation))
    info = find(weights).info
    return recipe if info is None else recipe.replace(data=info.data() | {"image_size": info.test_image_size})


def log_preprocessing(final, published, weights, otherwise):
    """Logs how images are made, and who says so: the command line, else the weights, else `otherwise`.

    Args:
        final: `Recipe` that will be used.
        published: the same before the command line changed it.
        weights: file or name.
        otherwise: `"recipe"` or `"model"`, whose values stand where nobody else spoke.
    """
    info = find(weights).info
    from_weights = info.data() if info else {}
    words = []
    for key in ("test_size", "eval_crop", "crop_pct", "crop_padding", "interpolation", "mean", "std"):
        value = getattr(final.data, key)
        field = "test_image_size" if key == "test_size" else key
        changed = value != getattr(published.data, key)
        source = "command line" if changed else "weights" if field in from_weights else otherwise
        shown = tuple(round(v, 3) for v in value) if isinstance(value, tuple) else value
        words.append(f"{field} {shown} ({source})")
    log.info("preprocessing: %s", ", ".join(words))


def evaluate(recipe, weights, verbose=0):
    """Validation loss, top-1 and top-5 (shares of 1) of a recipe's network with the given weight file."""
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    ready = training.prepare(recipe)
    load(ready.network, weights)
    values = ready.trainer.evaluate(training.validation_batches(ready), verbose=verbose, return_dict=True)
    return {name: float(values[name]) for name in ("loss", "top1", "top5")}


def predict(what, paths, top=5, weights=None, assignments=()):
    """Yields (path, [(label, probability), ...]) for image files.

    Args:
        what: folder of a finished run, whose exported model answers; or the name of a model, with `weights`.
        paths: of image files.
        top: integer, answers for each image.
        weights: file or name, see `keras_tricks.weights.find`; their preprocessing is used.
        assignments: `"data.key=value"` strings that change the preprocessing.

    Raises:
        UserError: no finished run, no weights, a file that is no image.
    """
    from keras_tricks.data import evaluation_image
    from keras_tricks.data.image_folder import check_image

    if pathlib.Path(what).is_dir():
        model, data, classes = _of_exported_run(pathlib.Path(what), weights, assignments)
    else:
        model, data, classes = _of_published_model(what, weights, assignments)
    contents = []
    for path in paths:
        try:
            contents.append(check_image(path))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{path} is not an image that can be read ({error}).") from None
    for path, content in zip(paths, contents, strict=True):
        import tensorflow as tf

        pixels = evaluation_image(tf.constant(content), data)
        probabilities = np.asarray(model(pixels[None], training=False)[0])
        best = probabilities.argsort()[::-1][:top]
        yield path, [(classes[i] if classes else f"class {i}", float(probabilities[i])) for i in best]


def _of_exported_run(folder, weights, assignments):
    if weights is not None or assignments:
        raise UserError("A run predicts with its own weights and preprocessing: leave out --weights and --set, or "
                        "name a model instead of a run.")
    recipe, _ = load_run(folder)
    exported = folder / "export" / "model.keras"
    if not exported.is_file():
        raise UserError(f"{folder} has no export/model.keras: the run did not finish, or exports no .keras.")
    classes = json.loads((folder / "export" / "classes.json").read_text())
    return keras.saving.load_model(exported, compile=False), recipe.data, classes


def _of_published_model(name, weights, assignments):
    if weights is None:
        if name not in models.list_models():
            hint = nearest(name, models.list_models())
            raise UserError(f"{name} is not a run folder, and no model has that name.{hint}")
        raise UserError(f"predict needs weights for {name}: --weights FILE or NAME; or name the folder of a run.")
    published = recipe_for_pretrained(name, weights)
    recipe = published.override(assignments)
    log_preprocessing(recipe, published, weights, "model")
    network, class_names = network_of(recipe, weights)
    return deployable(lambda: network, network, recipe.data), recipe.data, class_names


def network_of(recipe, weights, dtype="float32"):
    """(network, class names or `None`) of a recipe made by `recipe_for_pretrained`: logits out, with its weights."""
    info, size = find(weights).info, recipe.data.test_size
    classes = info.num_classes if info else models.model_info(recipe.model.name).num_classes
    with precision(dtype):
        network = models.create_model(recipe.model.name, classes=classes, classifier_activation=None, weights=weights,
                                      input_shape=(size, size, 3))
    return network, list(info.class_names) or None if info else None
