"""What a run folder has kept: it is read without the data, the network or a device."""

import dataclasses
import json
import math
import pathlib
import re

from keras_tricks.recipe import Recipe
from keras_tricks.run.folder import recipe_of, was_stopped
from keras_tricks.run.lock import writer_of
from keras_tricks.utils.summary import read_summary

LOG_TAIL = 4_000_000  # bytes of the end of log.txt that are searched for rejected images
BROKEN = re.compile(r"WARNING \d+ broken (training|validation) images were left out:")
NAMED = re.compile(r"^\d{4}-\d\d-\d\d \S+ WARNING   (.*)$")


@dataclasses.dataclass(frozen=True)
class Kept:
    """The contents of a run folder.

    Attributes:
        folder: `pathlib.Path`.
        recipe: `Recipe`.
        rows: rows of `summary.csv`, a list of dicts of text.
        environment: contents of `env.json`, a dict; empty if the file is missing or damaged.
        rejected: lines of `log.txt` that name broken images.
        writer: the process that still trains, as text; `""` if there is none.
        stopped: bool, whether a callback, such as early stopping, ended the run.
    """

    folder: pathlib.Path
    recipe: Recipe
    rows: list
    environment: dict
    rejected: list
    writer: str
    stopped: bool = False

    def numbers(self, column):
        """The values of a column of `summary.csv`, NaN where one is missing."""
        return [float(row[column]) if row[column] else math.nan for row in self.rows]

    @property
    def state(self):
        """How far the run is, as text."""
        done, total = (int(self.rows[-1]["epoch"]) if self.rows else 0), self.recipe.schedule.epochs
        if self.writer:
            return f"running, {done} of {total} epochs done ({self.writer})"
        if self.stopped and done < total:
            return f"stopped by a callback after {done} of {total} epochs"
        return f"finished, {total} epochs" if done >= total else f"not finished: {done} of {total} epochs done"


def read_kept(folder):
    """The `Kept` of a run folder. Raises `UserError` if it is not one, or its files are damaged."""
    folder = pathlib.Path(folder)
    return Kept(folder, recipe_of(folder), read_summary(folder), _environment(folder / "env.json"),
                _rejected(folder / "log.txt"), writer_of(folder), was_stopped(folder))


def _environment(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rejected(path):
    if not path.is_file():
        return []
    try:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - LOG_TAIL, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found, split = {}, None
    for line in lines:
        if start := BROKEN.search(line):
            split = start[1]
        elif split and (name := NAMED.match(line)):
            found[f"{split}: {name[1]}"] = None
        else:
            split = None
    return list(found)
