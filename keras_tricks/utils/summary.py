"""`summary.csv`: one row per epoch of a run. `curves.png` is drawn from it.

Rows are appended, so that a resumed run continues in the same file. An epoch that is repeated after a crash replaces
its old row.
"""

import csv
import math
import pathlib

from keras_tricks.utils.atomic_files import atomic_write, check_regular
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.plotting import new_figure, save_figure

COLUMNS = ("epoch", "step", "images", "lr", "batch_size", "noise_scale", "train_loss", "val_loss", "top1", "top5",
           "ema_top1", "images_per_s", "data_wait", "seconds")
MULTI_LABEL = ("val_map", "val_f1", "val_ema_map")  # further columns of runs with several labels an image, in percent
# Columns of the accuracy, and their names in plots.
LINES = {"top1": "top-1", "top5": "top-5", "ema_top1": "top-1 of the average", "val_map": "mAP", "val_f1": "F1",
         "val_ema_map": "mAP of the average"}


def read_summary(folder):
    """The rows of `summary.csv` as dictionaries of strings, oldest first; empty if the file is missing."""
    return list(iterate_summary(folder))


def iterate_summary(folder):
    """Like `read_summary`, one row at a time, so that memory does not grow with the number of epochs.

    Raises:
        UserError: the file cannot be read, or a row is damaged.
    """
    path = pathlib.Path(folder) / "summary.csv"
    if not path.exists():
        return
    check_regular(path)
    reader = None
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield _checked(row)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, csv.Error):  # also text that is not UTF-8
        line = reader.line_num if reader else 1
        raise UserError(f"{path} is damaged at line {line}: restore the file, or remove it.") from None


def _checked(read):
    """The columns of a row of text. Raises `ValueError` for a row that `write_summary` does not write.

    A column that the file does not have, because another version wrote it, is empty.
    """
    row = {column: read.get(column) or "" for column in (*COLUMNS, *(c for c in MULTI_LABEL if c in read))}
    if int(row["epoch"]) < 1:
        raise ValueError("an epoch counts from 1")
    for column, text in row.items():
        float(text or 0)
        if column in ("step", "images", "batch_size") and column in read:
            int(text)
    return row


def top1_of(row):
    """The top-1 of an epoch in percent, as text: of the averaged weights if the run keeps an average.

    Args:
        row: a row of `read_summary`. Empty text if the epoch was not evaluated.
    """
    return row.get("ema_top1") or row["top1"]


def score_of(row):
    """(name, percent as text) of what the best epoch is chosen by: mAP with several labels an image, else `top1_of`."""
    score = row.get("val_ema_map") or row.get("val_map")
    return ("mAP", score) if score else ("top-1", top1_of(row))


def best_row(rows):
    """The first row with the highest `score_of`, or `None` if no epoch was evaluated."""
    return max((row for row in rows if top1_of(row)), key=lambda row: float(score_of(row)[1]), default=None)


def write_summary(folder, rows, further=()):
    """Replaces `summary.csv` atomically. `rows` may be read lazily from the old file. `further`: more columns."""
    with (atomic_write(pathlib.Path(folder) / "summary.csv") as partial,
          open(partial, "w", newline="", encoding="utf-8") as file):
        writer = csv.DictWriter(file, (*COLUMNS, *further), lineterminator="\n")
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
        (accuracy, "validation accuracy, %", LINES),
        (rate, "learning rate at the end of the epoch", {"lr": "learning rate"}),
    ):
        for column, label in columns.items():
            values = [float(r[column]) if r.get(column) else math.nan for r in rows]
            if not all(map(math.isnan, values)):
                axis.plot(epochs, values, label=label, marker=marker)
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if best_row(rows) is not None:
        name, best = score_of(best_row(rows))
        accuracy.axhline(float(best), linestyle=":", color="gray", linewidth=1)
        accuracy.set_title(f"validation accuracy, % (best {name} {float(best):.2f})")
    _draw_batch_size(rate.twinx(), epochs, rows)
    for axis in (loss, accuracy):
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    save_figure(figure, pathlib.Path(folder) / "curves.png")


def _draw_batch_size(axis, epochs, rows):
    axis.step(epochs, [int(r["batch_size"]) for r in rows], where="post", color="tab:orange", label="batch size")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("batch size", color="tab:orange")
