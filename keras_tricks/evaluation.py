"""A finished run, used: measured again on its validation split, or asked about image files."""

import json
import logging
import pathlib

import keras

from keras_tricks import training
from keras_tricks.errors import UserError
from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.weights import find, load

log = logging.getLogger("absl")


def of_run(folder):
    """The recipe of a run folder and the path of its best (else last) checkpoint."""
    folder = pathlib.Path(folder)
    if not (folder / "recipe.json").is_file():
        raise UserError(f"{folder} is not a run folder: it has no recipe.json.")
    recipe = Recipe.from_json((folder / "recipe.json").read_text(), folder / "recipe.json")
    for name in ("best", "last"):
        path = folder / "checkpoints" / f"{name}.safetensors"
        if path.is_file():
            return recipe, path
    raise UserError(f"{folder} has no checkpoint yet: its first epoch did not finish.")


def as_published(recipe, weights):
    """The recipe with the preprocessing that published weights say they want, which is logged.

    Args:
        recipe: `Recipe`.
        weights: file or name, see `keras_tricks.weights.find`.
    """
    info = find(weights).info
    if info is None:
        return recipe
    data = info.data()
    log.info("preprocessing of %s: %s", info.origin,
             ", ".join(f"{key} {value if not isinstance(value, tuple) else tuple(round(v, 3) for v in value)}"
                       for key, value in data.items()))  # fmt: skip
    return recipe.replace(data=data)


def evaluate(recipe, weights, verbose=0):
    """Validation loss, top-1 and top-5 (shares of 1) of a recipe's network with the given weight file."""
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    ready = training.prepare(recipe)
    load(ready.network, weights)
    values = ready.trainer.evaluate(training.validation_batches(ready), verbose=verbose, return_dict=True)
    return {name: float(values[name]) for name in ("loss", "top1", "top5")}


def predict(folder, paths, top=5):
    """Yields (path, [(label, probability), ...]) for image files, with the exported model of a run."""
    from keras_tricks.data import evaluation_image
    from keras_tricks.data.image_folder import check_image

    folder = pathlib.Path(folder)
    recipe, _ = of_run(folder)
    exported = folder / "export" / "model.keras"
    if not exported.is_file():
        raise UserError(f"{folder} has no export/model.keras: the run did not finish, or exports no .keras.")
    contents = []
    for path in paths:
        try:
            contents.append(check_image(path))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{path} is not an image that can be read ({error}).") from None
    model = keras.saving.load_model(exported, compile=False)
    classes = json.loads((folder / "export" / "classes.json").read_text())
    for path, content in zip(paths, contents, strict=True):
        import tensorflow as tf

        pixels = evaluation_image(tf.constant(content), recipe.data)
        probabilities = model(pixels[None], training=False)[0].numpy()
        best = probabilities.argsort()[::-1][:top]
        yield path, [(classes[i], float(probabilities[i])) for i in best]
