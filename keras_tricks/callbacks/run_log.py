"""What a run leaves: `summary.csv`, TensorBoard events and `curves.png`, written at the end of every epoch.

`summary.csv` is the source of truth; the plot is drawn from it. Rows are appended, so a continued run goes on in the
same file, and an epoch that is run again after a crash replaces its old row.
"""

import contextlib
import csv
import itertools
import math
import pathlib
import shutil
import time

import keras
import numpy as np

from keras_tricks.files import replaced
from keras_tricks.schedules import noise_scale

COLUMNS = ("epoch", "step", "images", "lr", "batch_size", "noise_scale", "train_loss", "val_loss", "top1", "top5",
           "ema_top1", "images_per_s", "data_wait", "seconds")  # fmt: skip


class RunLog(keras.callbacks.Callback):
    """Writes one row of `summary.csv` per epoch, TensorBoard scalars and the plot.

    Args:
        folder: run folder.
        plan: `BatchSizePlan`, for the batch size, images and noise scale of each epoch.
        clock: object whose `seconds` are those spent waiting for input so far, or `None`.

    As a context around `fit` it draws the plot also when `fit` raises.
    """

    def __init__(self, folder, plan, clock=None):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.plan, self.clock = plan, clock
        self.started = self.waited = 0.0
        self.before = {"seconds": 0.0, "waited": 0.0}  # of this epoch, in a process that ended
        self.writer, self.drawn = None, False

    def state(self):
        """Seconds of this epoch so far, for a checkpoint."""
        waited = self.clock.seconds - self.waited if self.clock else 0.0
        return {"seconds": time.perf_counter() - self.started, "waited": waited}

    def set_state(self, state):
        self.before = state

    def on_epoch_begin(self, epoch, logs=None):
        before, self.before = self.before, {"seconds": 0.0, "waited": 0.0}
        self.started = time.perf_counter() - before["seconds"]
        self.training_seconds = None
        self.waited = (self.clock.seconds if self.clock else 0.0) - before["waited"]

    def on_test_begin(self, logs=None):
        if self.training_seconds is None:
            self.training_seconds = time.perf_counter() - self.started

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        seconds = time.perf_counter() - self.started
        training = self.training_seconds or seconds
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        plan, batch_size = self.plan, self.plan.phase(epoch).batch_size
        images = plan.images_before(epoch + 1) - plan.images_before(epoch)
        waited = self.clock.seconds - self.waited if self.clock else None
        row = {
            "epoch": epoch + 1,
            "step": step,
            "images": plan.images_before(epoch + 1),
            "lr": rate,
            "batch_size": batch_size,
            "noise_scale": noise_scale(rate, batch_size, plan.dataset_size, plan.momentum),
            "train_loss": logs.get("loss"),
            "val_loss": logs.get("val_loss"),
            "top1": _percent(logs.get("val_top1")),
            "top5": _percent(logs.get("val_top5")),
            "ema_top1": _percent(logs.get("val_ema_top1")),
            "images_per_s": images / training,
            "data_wait": None if waited is None else min(waited / training, 1.0),
            "seconds": seconds,
        }
        row = {k: _text(v) for k, v in row.items()}
        before = (r for r in _summary_rows(self.folder) if int(r["epoch"]) <= epoch)
        write_summary(self.folder, itertools.chain(before, [row]))
        self._events([row])
        self.drawn = False
        self.started, self.waited = time.perf_counter(), self.clock.seconds if self.clock else 0.0

    def on_train_end(self, logs=None):
        draw_curves(self.folder)
        self.drawn = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Draws what there is, also when `fit` did not end well."""
        with contextlib.suppress(OSError):  # a full disk, which something else tells
            if not self.drawn:
                draw_curves(self.folder)

    def _events(self, rows):
        import tensorflow as tf

        if self.writer is None:  # a continued run: the curves begin anew, with the rows of before
            shutil.rmtree(self.folder / "events", ignore_errors=True)
            self.writer = tf.summary.create_file_writer(str(self.folder / "events"))
            rows = read_summary(self.folder)
        with self.writer.as_default():
            for row in rows:
                for name in ("lr", "batch_size", "train_loss", "val_loss", "top1", "top5", "images_per_s"):
                    if row[name]:
                        # NumPy's numbers: TensorFlow 2.21 keeps a tensor of every Python number it was ever given.
                        tf.summary.scalar(name, np.float32(row[name]), step=np.int64(row["step"]))
        self.writer.flush()


def read_summary(folder):
    """Rows of `summary.csv` as dictionaries of text, oldest first; empty when there is none."""
    return list(_summary_rows(folder))


def write_summary(folder, rows):
    """Replaces `summary.csv` in one step. `rows` may be read from it meanwhile."""
    with replaced(pathlib.Path(folder) / "summary.csv") as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _summary_rows(folder):
    """One at a time, so that thousands of epochs need no more memory than one."""
    path = pathlib.Path(folder) / "summary.csv"
    if path.is_file():
        with open(path, newline="") as file:
            yield from csv.DictReader(file)


def draw_curves(folder):
    """Draws `curves.png` from `summary.csv`: loss, accuracy, learning rate and batch size over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_summary(folder)
    if not rows:
        return
    epochs = [int(r["epoch"]) for r in rows]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
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
    batch = rate.twinx()
    batch.step(epochs, [int(r["batch_size"]) for r in rows], where="post", color="tab:orange", label="batch size")
    batch.set_ylim(bottom=0)
    batch.set_ylabel("batch size", color="tab:orange")
    for axis in (loss, accuracy):
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    with replaced(pathlib.Path(folder) / "curves.png") as partial:
        figure.savefig(partial, dpi=110)


def _percent(share):
    return None if share is None else 100.0 * float(share)


def _text(value):
    if value is None:
        return ""
    return f"{float(value):.6g}" if isinstance(value, float) else str(value)
