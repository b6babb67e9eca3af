"""Trains the rows of an ablation, seed by seed: all rows have been run once before any is run twice."""

import dataclasses
import logging
import math
import re

from keras_tricks import training
from keras_tricks.callbacks import Diverged
from keras_tricks.run.folder import completed_summary
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.summary import read_summary

log = logging.getLogger("absl")

DIVERGED = "diverged.txt"  # in the folder of a run whose loss became no number


@dataclasses.dataclass(frozen=True)
class Result:
    """A run. `top1` is in percent, of the averaged weights where there are any; `None`: the run diverged."""

    row: int
    seed: int
    top1: float | None
    epochs: int
    updates: int
    minutes: float


def study(rows, seeds, folder):
    """Trains every row with every seed.

    Args:
        rows: list of `AblationRow`.
        seeds: integers.
        folder: `pathlib.Path`. A run that is complete there is read; one that was stopped goes on.

    Returns:
        A list of `Result`, as far as they are there after each run: a generator of growing lists.

    Raises:
        UserError: a row that cannot be trained, before any is; a run in `folder` of another recipe.
    """
    runs = [(number, seed, _recipe(row, seed), folder / "runs" / _slug(number, row.name) / f"seed{seed}")
            for seed in seeds for number, row in enumerate(rows)]
    for number, seed, recipe, run in runs:
        missing = _result(number, seed, recipe, run) is None  # raises what is wrong with the folder
        if missing and seed == seeds[0]:
            training.prepare(recipe)
    results = []
    for done, (number, seed, recipe, run) in enumerate(runs, start=1):
        result = _result(number, seed, recipe, run)
        if result is None:
            log.info("%d of %d: %s, seed %d", done, len(runs), rows[number].name, seed)
            try:
                training.train(recipe, run, resume="auto", verbose=0)
            except Diverged as error:
                write_text(run / DIVERGED, f"{error}\n")
            result = _result(number, seed, recipe, run)
        results.append(result)
        yield list(results)


def _recipe(row, seed):
    """The recipe of a run; its last epoch is evaluated."""
    epochs, every = row.recipe.schedule.epochs, row.recipe.train.evaluate_every
    return row.recipe.replace(name=f"ablation/{row.name}", seed=seed, export={"formats": ()},
                              train={"evaluate_every": epochs if epochs % every else every})


def _slug(number, name):
    return f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _result(row, seed, recipe, run):
    """The `Result` of a run that has ended, or `None`."""
    summary = completed_summary(run, recipe)
    if (run / DIVERGED).is_file():
        summary, diverged = read_summary(run), True
    elif summary is None:
        return None
    else:
        diverged = not all(math.isfinite(float(summary[-1][loss])) for loss in ("train_loss", "val_loss"))
    last = summary[-1] if summary else {"epoch": 0, "step": 0}
    top1 = None if diverged else float(last["ema_top1"] or last["top1"])
    minutes = sum(float(r["seconds"]) for r in summary) / 60
    return Result(row, seed, top1, int(last["epoch"]), int(last["step"]), minutes)
