"""Trains the rows of an ablation, seed by seed: all rows run with one seed before the next seed starts."""

import dataclasses
import logging
import math
import re

from keras_tricks import training
from keras_tricks.callbacks import Diverged
from keras_tricks.run.folder import completed_summary, is_run
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.summary import read_summary, top1_of

log = logging.getLogger("absl")

DIVERGED = "diverged.txt"  # in the folder of a run whose loss became non-finite


@dataclasses.dataclass(frozen=True)
class Result:
    """A run. `top1` is in percent, that of the averaged weights if there are any. `None`: the run diverged."""

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
        folder: `pathlib.Path`. A complete run in it is read, an unfinished one continues.

    Yields:
        After each run, the list of all `Result`s so far.

    Raises:
        UserError: a row cannot be trained (raised before any training), or `folder` has a run of another recipe or on
            other classes.
    """
    runs = [(number, seed, _recipe(row, seed), folder / "runs" / _slug(number, row.name) / f"seed{seed}")
            for seed in seeds for number, row in enumerate(rows)]
    names = {}  # of the classes, by `data` section
    for number, seed, recipe, run in runs:
        data = recipe.data
        if is_run(run) and data.model_dump_json() not in names:
            names[data.model_dump_json()] = training.class_names_of_data(data)
        known = names.get(data.model_dump_json())
        missing = _result(number, seed, recipe, run, known) is None  # raises errors of the folder
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
    """The recipe of a run, changed so that its last epoch is evaluated."""
    epochs, every = row.recipe.schedule.epochs, row.recipe.train.evaluate_every
    return row.recipe.replace(name=f"ablation/{row.name}", seed=seed, export={"formats": ()},
                              train={"evaluate_every": epochs if epochs % every else every})


def _slug(number, name):
    return f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _result(row, seed, recipe, run, class_names=None):
    """The `Result` of a complete or diverged run, or `None`. Errors as those of `completed_summary`."""
    summary = completed_summary(run, recipe, class_names)
    if (run / DIVERGED).is_file():
        summary, diverged = read_summary(run), True
    elif summary is None:
        return None
    else:
        diverged = not all(math.isfinite(float(summary[-1][loss])) for loss in ("train_loss", "val_loss"))
    last = summary[-1] if summary else {"epoch": 0, "step": 0}
    top1 = None if diverged else float(top1_of(last))
    minutes = sum(float(r["seconds"]) for r in summary) / 60
    return Result(row, seed, top1, int(last["epoch"]), int(last["step"]), minutes)
