"""`summary.csv`: one row per epoch of a run. It is the source of truth; `curves.png` is drawn from it.

Rows are appended, so a resumed run continues in the same file, and an epoch that is run again after a crash replaces
its old row.
"""

import csv
import math
import pathlib

from keras_tricks.utils.atomic_files import atomic_write
from keras_tricks.utils.plotting import new_figure, save_figure

COLUMNS = ("epoch", "step", "images", "lr", "batch_size", "noise_scale", "train_loss", "val_loss", "top1", "top5",
           "ema_top1", "images_per_s", "data_wait", "seconds")


def read_summary(folder):
    """Rows of `summary.csv` as dictionaries of text, oldest first; empty when there is none."""
    return list(iterate_summary(folder))


def iterate_summary(folder):
    """The same one row at a time, so that thousands of epochs need no more memory than one."""
    path = pathlib.Path(folder) / "summary.csv"
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def write_summary(folder, rows):
    """Replaces `summary.csv` in one step. `rows` may be read from it meanwhile."""
    with (atomic_write(pathlib.Path(folder) / "summary.csv") as partial,
          open(partial, "w", newline="", encoding="utf-8") as file):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(folder):
    """Draws `curves.png` from `summary.csv`: loss, accuracy, learning rate and batch size over the epochs."""
    rows = read_summary(folder)
    if not rows:
        return
    from matplotlib.ticker import MaxNLocator

    epochs = [int(r["epoch"]) for r in rows]
    figure = new_figure(11, 3.4)
    loss, accuracy, rate = figure.subplots(1, 3)
    marker = "o" if len(rows) < 3 else None
    for axis, title, columns in (
        (loss, "loss", {"train_loss": "training (augmented, smoothed)", "val_loss": "validation"}),
        (accuracy, "validation accuracy, %", {"top1": "top-1", "top5": "top-5", "ema_top1": "top-1 of the average"}),
        (rate, "learning rate at the end of the epoch", {"lr": "learning rate"}),
    ):
        for column, label in columns.items():
            values = [float(r[column]) if r[column] else math.nan for r in rows]
            if not all(map(math.isnan, values)):
                axis.plot(epochs, values, label=label, marker=marker)
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    best = max((float(r["top1"]) for r in rows if r["top1"]), default=None)
    if best is not None:
        accuracy.axhline(best, linestyle=":", color="gray", linewidth=1)
        accuracy.set_title(f"validation accuracy, % (best top-1 {best:.2f})")
    _draw_batch_size(rate.twinx(), epochs, rows)
    for axis in (loss, accuracy):
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    save_figure(figure, pathlib.Path(folder) / "curves.png")


def _draw_batch_size(axis, epochs, rows):
    axis.step(epochs, [int(r["batch_size"]) for r in rows], where="post", color="tab:orange", label="batch size")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("batch size", color="tab:orange")
