"""The log of a run: `summary.csv`, TensorBoard events and `curves.png`, written at the end of every epoch."""

import itertools
import logging
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.schedules import BatchSizePlan, noise_scale
from keras_tricks.utils.errors import one_line
from keras_tricks.utils.memory import is_out_of_memory
from keras_tricks.utils.summary import draw_curves, iterate_summary, read_summary, write_summary
from keras_tricks.utils.types import Logs, Path

log = logging.getLogger("absl")

EVENTS = ("lr", "batch_size", "train_loss", "val_loss", "top1", "top5", "ema_top1", "images_per_s")


class RunLog(keras.callbacks.Callback):
    """Writes one row of `summary.csv` per epoch, TensorBoard scalars and the plot.

    Args:
        folder: run folder.
        plan: `BatchSizePlan`, which gives the batch size, images and noise scale of each epoch.
        clock: object whose `seconds` is the time spent waiting for input so far, or `None`. Defaults to `None`.
        events: bool, whether to write events for TensorBoard. Defaults to `True`.
        further: names of shares in the logs that get a column of their own, such as `"val_map"`. Defaults to `()`.

    Used as a context around `fit`, it draws the plot even if `fit` raises.
    """

    def __init__(self, folder: Path, plan: BatchSizePlan, clock: Any = None, events: bool = True,
                 further: Sequence[str] = ()) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.plan, self.clock, self.writes_events, self.further = plan, clock, events, tuple(further)
        self.started = self.waited = 0.0
        self.before = {"seconds": 0.0, "waited": 0.0}  # of this epoch, in an earlier process
        self.writer, self.drawn = None, False

    def state(self) -> dict[str, Any]:
        """Seconds of this epoch so far, for a checkpoint."""
        waited = self.clock.seconds - self.waited if self.clock else 0.0
        return {"seconds": time.perf_counter() - self.started, "waited": waited}

    def set_state(self, state: dict[str, Any]) -> None:
        self.before = state

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        before, self.before = self.before, {"seconds": 0.0, "waited": 0.0}
        self.started = time.perf_counter() - before["seconds"]
        self.training_seconds = None
        self.waited = (self.clock.seconds if self.clock else 0.0) - before["waited"]

    def on_test_begin(self, logs: Logs = None) -> None:
        if self.training_seconds is None:
            self.training_seconds = time.perf_counter() - self.started

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
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
            "val_loss": logs.get("val_cross_entropy", logs.get("val_loss")),  # see `run/build.py`
            "top1": _percent(logs.get("val_top1")),
            "top5": _percent(logs.get("val_top5")),
            "ema_top1": _percent(logs.get("val_ema_top1")),
            "images_per_s": images / training,
            "data_wait": None if waited is None else min(waited / training, 1.0),
            "seconds": seconds,
            **{name: _percent(logs.get(name)) for name in self.further},
        }
        row = {k: _text(v) for k, v in row.items()}
        before = (r for r in iterate_summary(self.folder) if int(r["epoch"]) <= epoch)
        write_summary(self.folder, itertools.chain(before, [row]), self.further)
        if self.writes_events:
            self._events([row])
        self.drawn = False
        self.started, self.waited = time.perf_counter(), self.clock.seconds if self.clock else 0.0

    def on_train_end(self, logs: Logs = None) -> None:
        draw_curves(self.folder)
        self.drawn = True

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        """Draws the epochs so far, even if `fit` failed. What fails here never hides the error of `fit`."""
        if self.drawn or (error is not None and is_out_of_memory(error)):
            return
        try:
            draw_curves(self.folder)
        except Exception as problem:
            if error is None:
                raise
            log.warning("curves.png could not be drawn: %s", one_line(problem))

    def _events(self, rows):
        from tensorboard import summary

        if self.writer is None:  # a resumed run: rewrite the curves from all rows
            shutil.rmtree(self.folder / "events", ignore_errors=True)
            self.writer = summary.Writer(str(self.folder / "events"))
            rows = read_summary(self.folder)
        for row in rows:
            for name in (*EVENTS, *self.further):
                if row.get(name):
                    self.writer.add_scalar(name, np.float32(row[name]), int(row["step"]))
        self.writer.flush()


def _percent(share):
    return None if share is None else 100.0 * float(share)


def _text(value):
    if value is None:
        return ""
    return f"{float(value):.6g}" if isinstance(value, float) else str(value)
