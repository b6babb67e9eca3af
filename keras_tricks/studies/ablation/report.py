"""The results of an ablation: ablation.csv (every run), ablation.md (the table) and ablation.png."""

import csv
import dataclasses
import math
import statistics

from keras_tricks.studies.ablation.chain import AblationRow
from keras_tricks.studies.ablation.study import Result
from keras_tricks.utils.atomic_files import atomic_write, write_text
from keras_tricks.utils.plotting import new_figure, save_figure

HEAD = ("row", "n", "top-1 %", "Δ", "updates", "minutes")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Statistics of a row over its seeds. Accuracies are in percent; `None` if there are too few runs.

    Attributes:
        name: name of the row.
        values: top-1 of the runs that did not diverge.
        runs, diverged: number of runs, and of those that diverged.
        mean, sd: mean and standard deviation of `values`. `sd` divides by n - 1 and needs two runs.
        delta, error: difference to the row it is compared with, and the standard error of that difference.
        updates, minutes: means over the runs.
    """

    name: str
    values: tuple
    runs: int
    diverged: int
    mean: float | None
    sd: float | None
    delta: float | None
    error: float | None
    updates: float
    minutes: float

    @property
    def top1(self):
        """Mean ± standard deviation and the number of diverged runs, as text."""
        text = "" if self.mean is None else _pm(self.mean, self.sd)
        return f"{text} ({self.diverged} of {self.runs} diverged)".strip() if self.diverged else text

    @property
    def difference(self):
        """Delta ± its standard error as text."""
        return "" if self.delta is None else _pm(self.delta, self.error, sign="+")


def summaries(rows, results):
    """The `Summary` of every row that has a result."""
    found = {}
    for number, row in enumerate(rows):
        own = [r for r in results if r.row == number]
        if not own:
            continue
        values = tuple(r.top1 for r in own if r.top1 is not None)
        mean = statistics.mean(values) if values else None
        sd = statistics.stdev(values) if len(values) > 1 else None
        delta = error = None
        other = found.get(row.against)
        if other is not None and None not in (mean, other.mean):
            delta = mean - other.mean
            if None not in (sd, other.sd):
                error = math.sqrt(sd**2 / len(values) + other.sd**2 / len(other.values))
        found[number] = Summary(row.name, values, len(own), len(own) - len(values), mean, sd, delta, error,
                                statistics.mean(r.updates for r in own), statistics.mean(r.minutes for r in own))
    return list(found.values())


def table(rows, results):
    """The table in Markdown, aligned for reading as plain text.

    Top-1 is mean ± standard deviation, Δ the difference to the previous row (with `--remove`: to the first) ± its
    standard error. With one seed both have no ±.
    """
    lines = [HEAD]
    for s in summaries(rows, results):
        name, updates, minutes = s.name.replace("|", "\\|"), f"{s.updates:,.0f}", f"{s.minutes:.1f}"
        lines.append((name, str(s.runs), s.top1, s.difference, updates, minutes))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["| " + " | ".join(_cell(text, width, i) for i, (text, width) in enumerate(zip(line, widths, strict=True)))
             + " |" for line in lines]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])


def _cell(text, width, column):
    return text.ljust(width) if column == 0 else text.rjust(width)


def _pm(value, spread, sign=""):
    return f"{value:{sign}.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def write(rows, results, folder, title):
    """Writes ablation.csv, ablation.md and ablation.png to a folder."""
    write_csv(rows, results, folder / "ablation.csv")
    write_text(folder / "ablation.md", table(rows, results) + "\n")
    draw(rows, results, folder / "ablation.png", title)


def write_csv(rows, results, path):
    """Writes one line per run, atomically. An empty `top1` means that the run diverged."""
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "against", "seed", "top1", "epochs", "updates", "minutes"])
        for r in sorted(results, key=lambda r: (r.row, r.seed)):
            row = rows[r.row]
            against = "" if row.against is None else rows[row.against].name
            writer.writerow([row.name, against, r.seed, "" if r.top1 is None else f"{r.top1:g}", r.epochs, r.updates,
                             f"{r.minutes:.2f}"])


def read_csv(path):
    """Reads (rows, results) from an `ablation.csv`, for `table`, `draw` and `summaries`. The rows have no recipe."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = list(dict.fromkeys(line["row"] for line in lines))
    against = {line["row"]: names.index(line["against"]) if line["against"] else None for line in lines}
    results = [Result(names.index(line["row"]), int(line["seed"]), float(line["top1"]) if line["top1"] else None,
                      int(line["epochs"]), int(line["updates"]), float(line["minutes"])) for line in lines]
    return [AblationRow(name, None, against[name]) for name in names], results


def draw(rows, results, path, title):
    """Draws means with their standard deviation, and a dot for each run, as a PNG that is replaced atomically."""
    found = summaries(rows, results)
    figure = new_figure(8, 1.2 + 0.5 * len(found))
    axis = figure.subplots()
    for place, s in enumerate(found):
        axis.plot(s.values, [place] * len(s.values), "o", color="tab:gray", markersize=4, alpha=0.6)
        if s.mean is not None:
            axis.errorbar(s.mean, place, xerr=s.sd, fmt="D", color="tab:blue", capsize=4, markersize=5)
        if s.diverged:
            axis.annotate(f"{s.diverged} of {s.runs} diverged", (0.01, place), xycoords=("axes fraction", "data"),
                          va="center", fontsize=8, color="tab:red")
    axis.set(yticks=range(len(found)), yticklabels=[s.name for s in found], xlabel="top-1, %", title=title)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    save_figure(figure, path)
