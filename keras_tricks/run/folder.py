"""What a run folder holds, read from outside."""

import pathlib

from keras_tricks.recipe import Recipe
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import read_summary


def is_run(folder):
    """Whether a folder holds a `recipe.json`."""
    return (pathlib.Path(folder) / "recipe.json").is_file()


def recipe_of(folder):
    """The `Recipe` of a run folder. Raises `UserError` when it is not one."""
    folder = pathlib.Path(folder)
    if not is_run(folder):
        raise UserError(f"{folder} is not a run folder: it has no recipe.json.")
    return Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"), folder / "recipe.json")


def completed_summary(folder, recipe):
    """The rows of `summary.csv` of a completed run of that recipe, or `None`.

    Raises:
        UserError: the folder holds a run of another recipe.
    """
    if not is_run(folder):
        return None
    if recipe_of(folder) != recipe:
        raise UserError(f"{folder} holds a run of other settings: give --output another folder, or remove it.")
    summary = read_summary(folder)
    return summary if len(summary) == recipe.schedule.epochs and summary[-1]["top1"] else None
