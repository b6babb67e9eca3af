"""Runs commands of `keras-tricks` on two dozen images for one epoch, for the code blocks of the docs.

Without pretrained weights, a small network stands in for ResNet-50.

    python tests/support/stand_in.py train quickstart ...
"""

import pathlib
import sys

BATCH, DIGITS = 8, 256
NETWORKS = {"resnet50": "test_resnet", "resnet50d": "test_resnet"}  # built and traced in a tenth of the time


def small(recipe):
    """The recipe on a folder of two classes, at 64 pixels, for one epoch. `quickstart` takes 256 of its images."""
    if recipe.data.source == "digits":
        recipe = recipe.replace(data={"train_images": recipe.data.train_images or DIGITS})
    elif recipe.data.source != "python":  # data that are passed to `kt.train`
        size = min(recipe.data.image_size, 64)
        recipe = recipe.replace(
            data={"source": recipe.data.source if recipe.data.source in ("csv", "webdataset") else "image_folder",
                  "data_dir": recipe.data.data_dir or "DIR", "image_size": size,
                  "test_image_size": None, "short_side": 72, "train_images": None, "workers": 1},
            schedule={"batch_size": BATCH, "max_batch_size": 2 * BATCH},
            train={"precision": "float32", "eval_batch_size": None},
        )
    if recipe.model.weights is None:
        recipe = recipe.replace(model={"name": NETWORKS.get(recipe.model.name, recipe.model.name)})
    if recipe.train.strategy == "mirrored":  # on two virtual CPU devices
        recipe = recipe.replace(train={"logical_devices": 2})
    warmup = min(recipe.schedule.warmup_epochs, 0.5)
    return recipe.replace(schedule={"epochs": 1, "warmup_epochs": warmup}, train={"evaluate_every": 1},
                          export={"formats": ("keras",)})


def install():
    """Makes every command use small recipes."""
    from keras_tricks.cli import arguments

    original = arguments.recipe_from
    arguments.recipe_from = lambda *args, **changes: small(original(*args, **changes))


if __name__ == "__main__":
    sys.path[:0] = [str(pathlib.Path(__file__).parents[2])]
    from keras_tricks import cli

    install()
    cli.main(["keras-tricks", *sys.argv[1:]])
