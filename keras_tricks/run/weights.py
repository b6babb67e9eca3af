"""Selects the weights of a run. All code that uses a run calls `run_weights`.

    best   of the epoch with the best validation accuracy; without an evaluation, of the last epoch
    last   after the last whole epoch
    raw    without the average, after the last checkpoint; for a run without an average, as `best`

For a run with `optimizer.ema_decay` or `optimizer.swa_epochs` these are the averages of the weights. Raw weights of a
run with `bn_momentum=0` are rejected, because their batch statistics are those of the last batch only.
"""

import dataclasses
import logging
import pathlib

from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.weights import load, safetensors_io

log = logging.getLogger("absl")

WHICH = ("best", "last", "raw")


@dataclasses.dataclass(frozen=True)
class RunWeights:
    """Weights of a run.

    Attributes:
        path: `pathlib.Path` of the safetensors file, for `keras_tricks.weights.load`.
        averaged: bool, whether they are the average of the weights.
        epoch: integer, whole epochs done.
        images: integer, images of the next epoch done.
    """

    path: pathlib.Path
    averaged: bool
    epoch: int
    images: int = 0

    def __str__(self):
        where = f"{self.images:,} images into epoch {self.epoch + 1}" if self.images else f"after epoch {self.epoch}"
        return f"{'averaged' if self.averaged else 'raw'}, {where} ({self.path})"

    def top1(self, rows):
        """Their validation top-1 in percent, as text; empty if that epoch was not evaluated.

        Args:
            rows: rows of the run's `summary.csv`.
        """
        row = next((r for r in rows if int(r["epoch"]) == self.epoch), None)
        if row is None or self.images:
            return ""
        return row.get("ema_top1", "") if self.averaged else row["top1"]


def run_weights(folder, which="best"):
    """The selected weights of a run.

    Args:
        folder: run folder.
        which: `"best"`, `"last"` or `"raw"`; see the module docstring. Defaults to `"best"`.

    Returns:
        `RunWeights`.

    Raises:
        UserError: not a run folder, no checkpoint, a damaged file, or raw weights without statistics.
    """
    check_choice("weights", which, WHICH)
    folder, recipe = pathlib.Path(folder), recipe_of(folder)
    best, last, average = (folder / "checkpoints" / f"{name}.safetensors" for name in ("best", "last", "ema"))
    if not (best.is_file() or last.is_file()):
        raise UserError(f"{folder} has no checkpoint yet: its first epoch did not finish.")
    if which == "raw" and keeps_average(recipe):
        return _checked(_of_file(last), recipe)
    if which != "last" and best.is_file():
        found = _of_file(best)
        if found.averaged or not keeps_average(recipe):
            return _checked(found, recipe)
        log.info("%s holds raw weights: an earlier version wrote it. Using the average after the last epoch.", best)
    if not keeps_average(recipe):
        return _checked(_of_file(last), recipe)
    if average.is_file():
        return _of_file(average)
    raise UserError(f"{folder} has no average of its weights yet: its first epoch did not finish.")


def load_result(network, folder, run_folder=None):
    """Loads the best weights of a finished run into its network. Without a checkpoint the network is not changed.

    Args:
        network: `keras.Model` of the run.
        folder: folder to which this process wrote.
        run_folder: run folder, from which a worker that trained nothing reads. Defaults to `None`.
    """
    for place in (folder, run_folder):
        if place is not None and any((place / "checkpoints").glob("*.safetensors")):
            found = run_weights(place)
            log.info("final weights: %s", found)
            load(network, found.path)
            return


def teacher_options(recipe):
    """The options of a recipe's teacher: those of `loss.teacher_options`, and of the run it is taken from.

    Raises:
        UserError: the run is of another network, or normalizes its images differently.
    """
    loss = recipe.loss
    if not is_run(loss.teacher_weights):
        return dict(loss.teacher_options)
    theirs = recipe_of(loss.teacher_weights)
    if theirs.model.name != loss.teacher:
        raise UserError(f"`loss.teacher` is {loss.teacher}, and the run {loss.teacher_weights} is of "
                        f"{theirs.model.name}: --set loss.teacher={theirs.model.name}")
    if (theirs.data.mean, theirs.data.std) != (recipe.data.mean, recipe.data.std):
        raise UserError(f"The teacher {loss.teacher_weights} was trained with the mean {theirs.data.mean} and the "
                        f"standard deviation {theirs.data.std} of the pixels, and sees the images of this run: set "
                        "data.mean and data.std to the same.")
    return {k: v for k, v in theirs.model.options.items() if k != "input_shape"} | dict(loss.teacher_options)


def run_of_weights(path):
    """The folder of the run whose checkpoint a weight file is, or `None`."""
    path = pathlib.Path(path)
    folder = path.parent.parent
    return folder if path.parent.name == "checkpoints" and path.suffix == ".safetensors" and is_run(folder) else None


def resolve_weights(weights):
    """Resolves weights given by the user to a file or name for `keras_tricks.weights.find`.

    Args:
        weights: `None`, a file or name, or a run folder, which is replaced by the file of its best weights.

    Raises:
        UserError: as `run_weights`, also for a file of a run.
    """
    if weights is None:
        return None
    if is_run(weights):
        found = run_weights(weights)
        log.info("weights of %s: %s", weights, found)
        return str(found.path)
    describe(weights)
    return str(weights)


def describe(weights):
    """A `RunWeights` for a checkpoint of a run, else `None`.

    Raises:
        UserError: raw weights of a run whose batch statistics are those of the last batch alone.
    """
    folder = run_of_weights(weights)
    if folder is None or not pathlib.Path(weights).is_file():
        return None
    return _checked(_of_file(pathlib.Path(weights)), recipe_of(folder))


def keeps_average(recipe):
    """Whether a run of a recipe has an average of its weights, for which it then stands."""
    return bool(recipe.optimizer.ema_decay or recipe.optimizer.swa_epochs)


def keeps_last_statistics(recipe):
    """Whether the moving statistics of a recipe's batch normalization are those of the last batch alone."""
    return recipe.model.options.get("bn_momentum") == 0 and not recipe.model.freeze_norms


def _of_file(path):
    if not path.is_file():
        raise UserError(f"{path} does not exist: the run has no such checkpoint.")
    metadata = safetensors_io.read_metadata(path)
    averaged = metadata.get("weights", "average" if path.name == "ema.safetensors" else "raw") == "average"
    try:
        return RunWeights(path, averaged, int(metadata.get("epoch", 0)), int(metadata.get("images", 0)))
    except ValueError:
        raise UserError(f"{path} is damaged: its position in the run is not a number.") from None


def _checked(found, recipe):
    if not found.averaged and keeps_last_statistics(recipe):
        raise UserError(f"{found.path} holds raw weights of a run with bn_momentum=0: its batch statistics are those "
                        "of the last batch alone. Use the average: pass the run folder.")
    return found
