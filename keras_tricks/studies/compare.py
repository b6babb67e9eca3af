"""The curves of several runs against epochs and against parameter updates.

Runs of one recipe, with different seeds, are one curve: their mean, and their standard deviation as a band.
"""

import dataclasses
import math
import pathlib
import statistics

from keras_tricks.recipe import load_recipe
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.plotting import new_figure, save_figure
from keras_tricks.utils.summary import read_summary


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one recipe. `rows` is a list of `summary.csv` rows for each run, cut to the shortest."""

    name: str
    rows: tuple

    def values(self, column):
        """[(mean, standard deviation, epoch, updates)] of the epochs in which every run has a value."""
        points = []
        for at_epoch in zip(*self.rows, strict=True):
            values = [float(row[column]) for row in at_epoch if row[column]]
            if len(values) == len(self.rows):
                finite = all(map(math.isfinite, values))  # a loss that is not ends the line
                mean = statistics.mean(values) if finite else math.nan
                sd = statistics.stdev(values) if finite and len(values) > 1 else 0.0
                points.append((mean, sd, int(at_epoch[0]["epoch"]), int(at_epoch[0]["step"])))
        return points

    def last(self, column):
        """The last value of each run, floats; empty when a run has none."""
        found = [[float(row[column]) for row in rows if row[column]] for rows in self.rows]
        return [values[-1] for values in found] if all(found) else []


def read_groups(folders):
    """Groups of run folders, in the order their recipes first appear.

    Raises:
        UserError: a folder without `summary.csv` and `recipe.json`.
    """
    runs = {}
    for folder in map(pathlib.Path, folders):
        rows = read_summary(folder)
        if not rows or not (folder / "recipe.json").is_file():
            raise UserError(f"{folder} is not the folder of a run: it has no recipe.json, or no epoch in summary.csv.")
        runs.setdefault(load_recipe(folder / "recipe.json").name, []).append(rows)
    shortest = {name: min(map(len, rows)) for name, rows in runs.items()}
    return [Group(name, tuple(r[: shortest[name]] for r in rows)) for name, rows in runs.items()]


def table(groups):
    """One line per recipe: runs, epochs, updates, final accuracy with standard deviation and standard error, hours."""
    head = ("recipe", "runs", "epochs", "updates", "top-1 %", "sd", "standard error", "minutes")
    rows = []
    for group in groups:
        top1 = group.last("top1")
        sd = statistics.stdev(top1) if len(top1) > 1 else math.nan
        minutes = statistics.mean(sum(float(r["seconds"]) for r in rows) / 60 for rows in group.rows)
        final = group.rows[0][-1]
        rows.append((group.name, str(len(group.rows)), final["epoch"], f"{int(final['step']):,}",
                     f"{statistics.mean(top1):.2f}" if top1 else "", f"{sd:.2f}",
                     f"{sd / math.sqrt(len(group.rows)):.2f}", f"{minutes:.1f}"))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    line = "  ".join([f"{{:<{widths[0]}}}", *(f"{{:>{w}}}" for w in widths[1:])])
    return "\n".join(line.format(*row) for row in (head, *rows))


def draw(groups, path):
    """Draws training loss and validation accuracy against epochs and updates as a PNG, replaced in one step."""
    figure = new_figure(11, 7)
    panels = figure.subplots(2, 2)
    for line, (column, title) in zip(panels, (("train_loss", "training loss"), ("top1", "validation top-1, %")),
                                     strict=True):
        for axis, position, unit in zip(line, (2, 3), ("epoch", "parameter updates"), strict=True):
            for group in groups:
                points = group.values(column)
                x, mean = [p[position] for p in points], [p[0] for p in points]
                axis.plot(x, mean, label=f"{group.name} (n = {len(group.rows)})", marker="o", markersize=2.5)
                axis.fill_between(x, [p[0] - p[1] for p in points], [p[0] + p[1] for p in points], alpha=0.2)
            axis.set(title=title, xlabel=unit, yscale="log" if column == "train_loss" else "linear")
            axis.grid(alpha=0.3)
    panels[0][0].legend(frameon=False, fontsize=8)
    save_figure(figure, path, "--output")
