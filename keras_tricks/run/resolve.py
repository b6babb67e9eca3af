"""Resolves the arguments of `train`: the recipe, the run folder, and whether the run resumes."""

import dataclasses
import json
import logging
import os
import pathlib

from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.run.folder import check_entries, is_run, recipe_of
from keras_tricks.run.own import Handed
from keras_tricks.utils.atomic_files import writable_folder
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.plain_values import shown
from keras_tricks.weights import pretrained

log = logging.getLogger("absl")

# Keys that may change when a run resumes: they do not affect the weights, or only the devices that compute them.
CHANGEABLE_ON_RESUME = {
    "name", "about", "export", "data.data_dir", "data.max_bad_images", "data.workers", "data.service",
    "train.strategy", "train.logical_devices", "train.max_batch_per_replica", "train.static_shapes",
    "train.deterministic", "train.eval_batch_size", "train.evaluate_every",
    "train.jit_compile", "train.checkpoint_minutes", "train.checkpoint_steps", "train.keep_checkpoints",
    "train.stall_minutes", "train.loggers",
}


@dataclasses.dataclass(frozen=True)
class ResolvedRun:
    """The arguments of a run, before its folder is created and its model is built.

    Attributes:
        recipe: `Recipe` to train.
        folder: `pathlib.Path` of the run folder, not created yet.
        resume: bool, continue from the checkpoints in `folder`, if there are any.
        numbered: bool, whether `folder` is the default, which gets a number if it exists.
        changes: which recipe to use on resume: `"run"`, `"new"` or `None`.
        handed: data, model and callbacks that are not in the recipe.
    """

    recipe: Recipe
    folder: pathlib.Path
    resume: bool
    numbered: bool
    changes: str | None = None
    handed: Handed = Handed()


def resolve_run(recipe, output, resume, changes, handed=None):
    """The `ResolvedRun` that the arguments of `train` describe.

    Raises:
        UserError: there is no recipe, `resume` and `output` name two folders, or the run has another recipe.
    """
    if resume and resume not in (True, "auto"):
        if output is not None and pathlib.Path(output) != pathlib.Path(resume):
            raise UserError(f"--resume {resume} continues the run in that folder: leave out --output {output}.")
        output, own = resume, recipe_of(resume)
        recipe = own if recipe is None else recipe
    if recipe is None:
        raise UserError("train needs a recipe, or --resume and a run folder.")
    handed = handed or Handed()
    recipe = with_pretrained(handed.named(recipe if isinstance(recipe, Recipe) else load_recipe(recipe)))
    folder = pathlib.Path(output or pathlib.Path("runs") / _folder_name(recipe.name))
    if resume and is_run(folder):
        recipe = resumed_recipe(folder, recipe, changes)
    return ResolvedRun(recipe, folder, bool(resume), output is None and not resume, changes, handed)


def with_pretrained(recipe):
    """The recipe with the name of a checkpoint instead of `model.weights="pretrained"`. Raises as `pretrained.best`."""
    if recipe.model.weights != "pretrained":
        return recipe
    name = pretrained.best(recipe.model.name)
    log.info("weights of %s: %s", recipe.model.name, name)
    return recipe.replace(model={"weights": name})


def _folder_name(name):
    """The name of a recipe as that of a folder. Raises `UserError` if no folder can have it."""
    if not name.strip(". ") or not name.isprintable() or len(os.fsencode(name)) > 200:
        raise UserError(f"The recipe's name {shown(name)} cannot be that of a folder: give --output FOLDER.")
    return name.replace("/", "-")


def create_run_folder(run):
    """Creates the folder of a `ResolvedRun` and returns its path.

    Raises:
        UserError: it already has a run, or cannot be written.
    """
    if not run.resume and not run.numbered and is_run(run.folder):
        raise UserError(f"{run.folder} already has a run. Give --output another folder, or --resume to continue it.")
    if not run.numbered:
        folder = writable_folder(run.folder)
        check_entries(folder)
        return folder
    folder, number = run.folder, 1
    writable_folder(folder.parent)
    while True:
        try:
            folder.mkdir()  # fails if another run has just created it
            return folder
        except FileExistsError:
            number += 1
            folder = run.folder.with_name(f"{run.folder.name}-{number}")


def resumed_recipe(folder, recipe, changes):
    """The recipe with which a run resumes: that of the run, with the changeable keys of the given one.

    Args:
        folder: run folder.
        recipe: the requested `Recipe`.
        changes: what to do about differences that affect the weights: `None` raises an error, `"new"` uses the values
            of `recipe`, `"run"` those of the run.

    Raises:
        UserError: there are such differences, and `changes` is `None`.
    """
    check_choice("changes", changes, (None, "new", "run"))
    old, new = flatten(recipe_of(folder)), flatten(recipe)
    different = _differences(old, new)
    if changes == "new" or not different:
        return recipe
    if changes == "run":
        return _with_changeable_keys(recipe_of(folder), recipe)
    shown = ", ".join(f"{key} was {old.get(key)}, now {new.get(key)}" for key in different[:3])
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    raise UserError(f"The run in {folder} was started with another recipe ({shown}{more}). Choose one: "
                    "--changes run continues with the recipe of the run, --changes new with the new values.")


def is_same_training(recipe, other):
    """Whether two recipes train the same weights: they differ at most in keys that may change on resume."""
    return not _differences(flatten(recipe), flatten(other))


def _differences(old, new):
    return [key for key in {**old, **new} if old.get(key) != new.get(key) and not _is_changeable(key)]


def _with_changeable_keys(recipe, other):
    sections = recipe.model_dump()
    for key, value in flatten(other, as_json=False).items():
        section, _, field = key.partition(".")
        if _is_changeable(key) and field:
            sections[section][field] = value
        elif _is_changeable(key):
            sections[section] = value
    return Recipe(**sections)


def flatten(recipe, as_json=True):
    """{"section.key": value} of a recipe; the values as JSON text unless `as_json` is false."""
    found = {}
    for section, values in recipe.model_dump().items():
        if isinstance(values, dict) and section != "about":
            found |= {f"{section}.{key}": json.dumps(v) if as_json else v for key, v in values.items()}
        else:
            found[section] = json.dumps(values) if as_json else values
    return found


def _is_changeable(key):
    return key in CHANGEABLE_ON_RESUME or key.split(".")[0] in CHANGEABLE_ON_RESUME
