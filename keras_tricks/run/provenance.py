"""What a weight file records of its origin: enough to train it again.

    recipe      the recipe of the run, as JSON
    seed        the seed of its weights, of the order of the images and of their augmentation
    classes     names of the classes in the order of the outputs, as a JSON list
    about       the data, as JSON: number of training images, names of the classes, an identity of the files
    versions    Python, backend, devices and packages, as JSON
    epoch, images, weights    position in the run; `"average"` or `"raw"`

All are text in the metadata of a safetensors file. Files of earlier versions lack some of them.
"""

import json
import platform

from keras_tricks.recipe import Recipe
from keras_tricks.run.environment import environment
from keras_tricks.utils.errors import UserError

PACKAGES = ("keras-tricks", "keras", "tensorflow", "jax", "torch", "numpy")


def provenance(recipe, replicas, class_names):
    """The entries `recipe`, `seed`, `classes` and `versions` of a weight file, {str: str}.

    Args:
        recipe: `Recipe` of the run.
        replicas: integer, number of devices that train.
        class_names: strings, in the order of the outputs.
    """
    return {"recipe": json.dumps(recipe.model_dump(mode="json")), "seed": str(recipe.seed),
            "classes": json.dumps(list(class_names)), "versions": json.dumps(versions(replicas))}


def versions(replicas):
    """{name: version} of what the bits of a training depend on; packages that are not installed are left out."""
    found = environment([])
    packages = {package: found["versions"][package] for package in PACKAGES if found["versions"][package]}
    return {"python": found["python"], "machine": platform.machine(), "backend": found["backend"],
            "replicas": str(replicas), **packages}


def recipe_in(metadata, path):
    """The `Recipe` in the metadata of a weight file. Raises `UserError` if there is none, or it is not valid."""
    if "recipe" not in metadata:
        raise UserError(f"{path} holds no recipe: an earlier version or another program wrote it. If it belongs to a "
                        "run, train the recipe.json of that run again.")
    return Recipe.from_json(metadata["recipe"], f"The recipe in {path}")


def changed_versions(metadata, now):
    """Sentences such as `"keras was 3.14.0, is 3.15.1"` for what differs from the metadata of a weight file.

    Args:
        metadata: {str: str} of the file.
        now: {name: version}, see `versions`.
    """
    try:
        then = dict(json.loads(metadata.get("versions", "{}")))
    except ValueError:
        then = {}
    return [f"{name} was {then.get(name, 'not there')}, is {now.get(name, 'not there')}"
            for name in {**then, **now} if then.get(name) != now.get(name)]
