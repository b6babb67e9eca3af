"""Reads the contents of a run folder."""

import json
import pathlib

from keras_tricks.recipe import read_recipe
from keras_tricks.utils import class_names
from keras_tricks.utils.atomic_files import check_regular
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import read_summary
from keras_tricks.weights import safetensors_io

FILES = ("recipe.json", "classes.json", "env.json", "log.txt", "summary.csv", "curves.png", "non_finite.json",
         "loggers.json", ".lock", ".owner", "report.html")
FOLDERS = ("checkpoints", "events", "export", "report")
SAME_EXECUTION = {"deterministic": "auto", "jit_compile": "auto"}


def is_run(folder):
    """Whether a folder holds a `recipe.json`."""
    return (pathlib.Path(folder) / "recipe.json").is_file()


def recipe_of(folder):
    """The `Recipe` of a run folder. Raises `UserError` if it is not a run folder."""
    folder = pathlib.Path(folder)
    if not is_run(folder):
        raise UserError(f"{folder} is not a run folder: it has no recipe.json.")
    recipe = read_recipe(folder / "recipe.json")
    grows_adam = recipe.optimizer.name == "adam" and recipe.schedule.mode != "decay"
    if grows_adam and "growth_exponent" not in json.loads((folder / "recipe.json").read_bytes()).get("schedule", {}):
        return recipe.replace(schedule={"growth_exponent": 1.0})  # the rule of the version that wrote it
    return recipe


def check_entries(folder):
    """Raises `UserError` if an entry that a run will write is a folder instead of a file, or the other way round.

    Called before the first step: some entries are written after the last one only.
    """
    for name in FILES:
        check_regular(folder / name)
    for names, exists, expected in ((FILES, pathlib.Path.is_dir, "a folder, and must be a file"),
                                    (FOLDERS, pathlib.Path.is_file, "a file, and must be a folder")):
        for name in names:
            if exists(folder / name):
                raise UserError(f"{folder / name} is {expected}: remove it, or give --output another folder.")
    read_summary(folder)


def completed_summary(folder, recipe, names=None):
    """The rows of `summary.csv` if the folder has a completed run of the recipe, else `None`.

    A run that a callback stopped is complete. Its rows end with the last epoch that was evaluated. A run that was
    killed after its last epoch, before it wrote its result, is not complete.

    Args:
        folder: folder of the run.
        recipe: `Recipe`.
        names: class names of the data now, which must be those of the run. Defaults to `None`: not compared.

    Raises:
        UserError: the folder has a run of another recipe, or of other classes.
    """
    if not is_run(folder):
        return None
    # How a step is executed does not change the experiment: earlier versions had other defaults.
    if recipe_of(folder).replace(train=SAME_EXECUTION) != recipe.replace(train=SAME_EXECUTION):
        raise UserError(f"{folder} has a run with other settings: give --output another folder, or remove it.")
    known = class_names.of_run(folder)
    if names is not None and known is not None and tuple(names) != known:
        differ = class_names.difference(names, known, "the data", "the run") or "their order differs"
        raise UserError(f"{folder} has a run on other classes ({differ}): give --output another folder, or remove it.")
    if not (folder / "export" / class_names.FILE).is_file():  # what a run writes last
        return None
    summary = read_summary(folder)
    if len(summary) < recipe.schedule.epochs and was_stopped(folder):
        return summary[: max((i for i, row in enumerate(summary, 1) if row["top1"]), default=0)] or None
    return summary if len(summary) == recipe.schedule.epochs and summary[-1]["top1"] else None


def was_stopped(folder):
    """Whether a callback, such as early stopping, ended the run in a folder before its last epoch."""
    path = pathlib.Path(folder) / "checkpoints" / "last.safetensors"
    try:
        return path.is_file() and "stopped" in safetensors_io.read_metadata(path)
    except UserError:  # damaged
        return False
