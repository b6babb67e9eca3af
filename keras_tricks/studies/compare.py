"""Compares the curves of several runs, against epochs and against parameter updates.

Runs of one recipe with different seeds are one curve: their mean, with their standard deviation as a band. Two recipes
are the same if they train the same network on the same classes: names, notes, seeds, exports and settings of the
machine do not count. Top-1 is that of the averaged weights for a run that keeps an average.
"""

import collections
import dataclasses
import json
import logging
import math
import pathlib
import statistics

from keras_tricks.run.folder import recipe_of, was_stopped
from keras_tricks.run.resolve import CHANGEABLE_ON_RESUME, flatten
from keras_tricks.utils import class_names
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.plotting import new_figure, save_figure
from keras_tricks.utils.summary import read_summary, top1_of

log = logging.getLogger("absl")

IGNORED = {"seed", *CHANGEABLE_ON_RESUME} - {"data.data_dir"}  # other images may be in another folder
OPTIONS = ("model.options", "loss.teacher_options")
SHOWN = 4  # differences in a label


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one recipe. `rows` has the rows of `summary.csv` of each run.

    If all runs have ended, each has its own rows to its last epoch, which a callback may have chosen; else they are
    truncated to the shortest run.

    `name` is the name of the recipe, with the values in which it differs from others of that name.
    """

    name: str
    rows: tuple

    def values(self, column):
        """[(mean, standard deviation, epoch, updates)] of the epochs for which every run has a value."""
        points = []
        for at_epoch in zip(*self.rows, strict=False):
            values = [float(row[column]) for row in at_epoch if row[column]]
            if len(values) == len(self.rows):
                finite = all(map(math.isfinite, values))  # a non-finite value ends the curve
                mean = statistics.mean(values) if finite else math.nan
                sd = statistics.stdev(values) if finite and len(values) > 1 else 0.0
                points.append((mean, sd, int(at_epoch[0]["epoch"]), int(at_epoch[0]["step"])))
        return points

    def last(self, column):
        """The last value of each run, a list of floats. Empty if a run has no value."""
        found = [[float(row[column]) for row in rows if row[column]] for rows in self.rows]
        return [values[-1] for values in found] if all(found) else []


def read_groups(folders):
    """Groups run folders by recipe, in the order in which the recipes first appear. A folder given twice counts once.

    Raises:
        UserError: a folder lacks `summary.csv` or `recipe.json`.
    """
    runs = collections.defaultdict(list)
    for folder in {pathlib.Path(f).resolve(): pathlib.Path(f) for f in folders}.values():
        rows = read_summary(folder)
        if not rows or not (folder / "recipe.json").is_file():
            raise UserError(f"{folder} is not a run folder: it has no recipe.json, or no epoch in summary.csv.")
        recipe = recipe_of(folder)
        settings = _settings(recipe, class_names.of_run(folder))
        runs[json.dumps(settings, sort_keys=True)].append((folder, recipe, [r | {"top1": top1_of(r)} for r in rows]))
    names = [", ".join(dict.fromkeys(recipe.name for _, recipe, _ in members)) for members in runs.values()]
    labels = _labels(list(zip(names, map(json.loads, runs), strict=True)))
    groups = []
    for label, members in zip(labels, runs.values(), strict=True):
        _warn_of_equal_seeds(label, members)
        ended = all(len(rows) >= recipe.schedule.epochs or was_stopped(folder) for folder, recipe, rows in members)
        shortest = None if ended else min(len(rows) for _, _, rows in members)
        groups.append(Group(label, tuple(rows[:shortest] for _, _, rows in members)))
    return groups


def _settings(recipe, classes):
    """{"section.key": JSON text} of everything that makes a recipe another one, options of the network one by one."""
    found = {key: text for key, text in flatten(recipe).items()
             if key not in IGNORED and key.split(".")[0] not in IGNORED}
    for key in OPTIONS:
        options = json.loads(found.pop(key))
        found |= {f"{key}.{name}": json.dumps(value) for name, value in options.items()}
    return found | ({"classes": ", ".join(classes)} if classes else {})


def _labels(recipes):
    """A label for each (name, settings): the name, and what differs from others of that name."""
    labels = []
    for name, own in recipes:
        others = [settings for other, settings in recipes if other == name]
        keys = dict.fromkeys(key for settings in others for key in settings)
        differ = [key for key in keys if len({settings.get(key) for settings in others}) > 1]
        shown = [f"{key}={own[key]}" for key in differ if key in own]
        more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
        labels.append(" ".join([name, *shown[:SHOWN], *more]))
    counts = collections.Counter(labels)
    numbers = collections.Counter()
    for place, label in enumerate(labels):
        numbers[label] += 1
        if counts[label] > 1:
            labels[place] = f"{label} ({numbers[label]})"
    return labels


def _warn_of_equal_seeds(label, members):
    seeds = collections.Counter(recipe.seed for _, recipe, _ in members)
    for seed, count in seeds.items():
        if count > 1:
            log.warning("%s: %d runs have the seed %d. They are not independent: the standard deviation is too small.",
                        label, count, seed)


def table(groups):
    """One line per recipe: runs, epochs, updates, final top-1, its standard deviation and standard error, minutes."""
    head = ("recipe", "runs", "epochs", "updates", "top-1 %", "sd", "standard error", "minutes")
    rows = []
    for group in groups:
        top1 = group.last("top1")
        sd = statistics.stdev(top1) if len(top1) > 1 else None  # one run has no spread
        minutes = statistics.mean(sum(float(r["seconds"]) for r in rows) / 60 for rows in group.rows)
        epochs, updates = (_range([int(r[-1][key]) for r in group.rows]) for key in ("epoch", "step"))
        rows.append((group.name, str(len(group.rows)), epochs, updates,
                     f"{statistics.mean(top1):.2f}" if top1 else "", "" if sd is None else f"{sd:.2f}",
                     "" if sd is None else f"{sd / math.sqrt(len(group.rows)):.2f}", f"{minutes:.1f}"))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    line = "  ".join([f"{{:<{widths[0]}}}", *(f"{{:>{w}}}" for w in widths[1:])])
    return "\n".join(line.format(*row) for row in (head, *rows))


def _range(numbers):
    """`"12"`, or `"9-12"` for runs that ended after different numbers."""
    return "-".join(f"{n:,}" for n in dict.fromkeys((min(numbers), max(numbers))))


def draw(groups, path):
    """Draws training loss and validation accuracy against epochs and updates, as a PNG that is replaced atomically."""
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
