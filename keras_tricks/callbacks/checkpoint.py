"""Checkpoints: the state that a run needs to resume exactly, from any step.

    last.safetensors, last.1.safetensors, ...   the newest checkpoints; a resumed run starts from the first
    best.safetensors                            weights after the epoch with the best validation accuracy: those of the
                                                average if the run has one
    ema.safetensors                             averaged weights, if the run has an average

A checkpoint contains, by path, every variable of the model, its optimizer, its metrics and its weight average; the
position in the data (epoch and images); the state of other callbacks; the fingerprint of the run; and a checksum over
everything. A thread writes it to a temporary file and renames it, while training continues; the thread works on a copy.
A process killed at any moment leaves complete files. The checksum detects a file damaged later, and the previous
checkpoint is used.
"""

import concurrent.futures
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_tricks.callbacks import checkpoint_file
from keras_tricks.callbacks.callback_state import set_state_of, state_of, states_as_json
from keras_tricks.callbacks.checkpoint_file import Position
from keras_tricks.callbacks.watchdog import NonFiniteLoss
from keras_tricks.callbacks.weight_ema import WeightEMA
from keras_tricks.schedules import BatchSizePlan
from keras_tricks.utils.atomic_files import flush_to_disk, is_disk_full
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs, Path
from keras_tricks.weights import safetensors_io

log = logging.getLogger("absl")


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch, and within epochs if there is a plan. Keeps the best weights by `monitor`.

    Args:
        folder: run folder; files are written to its `checkpoints/`.
        monitor: name of a value in the epoch logs; larger is better. With a value of the average (`"val_ema_..."`),
            `best.safetensors` holds the averaged weights of the best epoch. Defaults to `None`: `"val_ema_top1"` if
            `ema` evaluates the average, else `"val_top1"`.
        ema: `WeightEMA` of the run, or `None`. Its averages are saved in `last.safetensors`, for resuming, and in
            `ema.safetensors`, for loading as weights. Defaults to `None`.
        plan: `BatchSizePlan` of the run. Defaults to `None`: saves only after whole epochs.
        every_steps: integer > 0, also saves after every such number of batches in an epoch. Needs `plan`. Defaults to
            `None`.
        every_minutes: number > 0, also saves when the last save was that many minutes ago. Needs `plan`. Defaults to
            `None`.
        keep: integer > 0, number of checkpoints to keep. Defaults to `2`.
        fingerprint: {str: str} that must be equal when the run is resumed, such as the data. Defaults to `None`.
        callbacks: other callbacks whose state is saved and restored, such as `keras.callbacks.EarlyStopping`: the
            result of their `state()` or `get_state()`, or else their plain public attributes. They must precede this
            one in the list given to `fit`. Defaults to `()`.
        metadata: {str: str}, further entries of the files' metadata, such as the recipe. Defaults to `None`.

    A thread writes the files. `flush()` waits for it; `fit` calls it at the end.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, folder: Path, monitor: str | None = None, ema: WeightEMA | None = None,
                 plan: BatchSizePlan | None = None, every_steps: int | None = None, every_minutes: float | None = None,
                 keep: int = 2, fingerprint: dict[str, str] | None = None,
                 callbacks: Sequence[keras.callbacks.Callback] = (), metadata: dict[str, str] | None = None) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder) / "checkpoints"
        evaluates_average = ema is not None and ema.validation_data is not None
        self.monitor = monitor or ("val_ema_top1" if evaluates_average else "val_top1")
        self.ema, self.plan = ema, plan
        self.every_steps, self.every_minutes, self.keep = every_steps, every_minutes, keep
        self.fingerprint, self.tracked_callbacks = dict(fingerprint or {}), list(callbacks)
        self.metadata = dict(metadata or {})
        self.best = None
        self.position = self.start = Position()
        self.resumed, self.pending, self.states = {}, {}, None  # read from the file, until `fit` starts
        self.stopped = False  # whether a callback ended the training early
        self.before_saving = lambda: None  # a check of the steps so far, which may raise
        self.writer, self.writing = concurrent.futures.ThreadPoolExecutor(1, "checkpoint"), None
        self.saved, self.offset, self.last_step = time.monotonic(), 0, (0, 0)

    # --- during fit -----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs = None) -> None:
        self.saved = time.monotonic()
        if self.states is not None:
            for callback, state in zip(self.tracked_callbacks, self.states, strict=True):
                set_state_of(callback, state)
            self.states = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.position = self.start if epoch == self.start.epoch else Position(epoch)
        self.offset = self.position.images // self.plan.phase(epoch).step_size if self.plan else 0
        self.pending = dict(self.resumed) if self.position.images else {}
        for name, variable in checkpoint_file.metrics(self.model).items():
            if name in self.pending:
                variable.assign(self.pending.pop(name))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.writing is not None and self.writing[0].done():
            self.flush()  # raises the error of the thread
        self.last_step = (self.position.epoch, batch + self.offset)
        self.complete_metrics(batch, logs)
        if self.plan is None:
            return
        epoch, phase = self.position.epoch, self.plan.phase(self.position.epoch)
        step = batch + 1 + self.offset
        self.position = Position(epoch, step * phase.step_size)
        if step % phase.accumulation_steps or step == phase.steps_per_epoch:
            return  # an unfinished update, or the end of the epoch, which saves anyway
        late = self.every_minutes and time.monotonic() - self.saved > 60 * self.every_minutes
        if late or (self.every_steps and step % self.every_steps == 0):
            self.save()

    def complete_metrics(self, batch: int, logs: Logs = None) -> None:
        """After the first batch of a resumed epoch: adds the batches before it to the metrics, and corrects the logs.

        Keras creates some metrics during the first step. Callbacks that read the logs of a batch need it before them:
        `keras.callbacks.LambdaCallback(on_train_batch_end=checkpoint.complete_metrics)`.
        """
        if not self.pending:
            return
        for name, variable in checkpoint_file.metrics(self.model).items():
            if name in self.pending:
                variable.assign_add(self.pending[name])
        self.pending = {}
        if logs:
            found = {name: float(keras.ops.convert_to_numpy(v)) for name, v in self.model.get_metrics_result().items()}
            logs.update({name: value for name, value in found.items() if name in logs})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.stopped = getattr(self.model, "stop_training", False) is True
        value = (logs or {}).get(self.monitor)
        improved = value is not None and np.isfinite(value) and (self.best is None or value > self.best)
        if improved:
            self.best = float(value)
        self.position = Position(epoch + 1)
        self.save(improved)

    def on_train_end(self, logs: Logs = None) -> None:
        self.flush()

    # --- writing --------------------------------------------------------------------------------------------------

    def save(self, improved: bool = False) -> None:
        """Starts writing a checkpoint of the current state.

        Args:
            improved: bool, whether to also write `best.safetensors`. Defaults to `False`.

        Raises:
            NonFiniteLoss: a weight is not finite. The previous checkpoint remains the newest.
        """
        self.before_saving()
        self.flush()
        self.saved = time.monotonic()
        state = checkpoint_file.copies(self._state_of(self.model))
        for name, values in state.items():  # of the model, its statistics and the average
            if name.startswith(("model/", "ema/")) and not checkpoint_file.is_finite(values):
                raise NonFiniteLoss(*self.last_step, f"the weights {name.partition('/')[2]} are not finite")
        if self.position.images:
            state |= checkpoint_file.copies(checkpoint_file.metrics(self.model))
        averages = {n.removeprefix("ema/"): a for n, a in state.items() if n.startswith("ema/")}
        metadata = self._metadata()
        self.writing = self.writer.submit(self._write, state, averages, metadata, improved), self.position

    def flush(self) -> None:
        """Waits until the checkpoint is on disk. Raises `UserError` if it could not be written."""
        if self.writing is None:
            return
        (writing, position), self.writing = self.writing, None
        try:
            writing.result()
        except OSError as error:
            before = next((p for p in self._paths(self.folder) if p.is_file()), None)
            rest = "There is no earlier checkpoint."
            if before:
                rest = f"The previous checkpoint is intact: continue from {before} with --resume."
            reason = "the disk is full" if is_disk_full(error) else error.strerror or str(error)
            where = f"The checkpoint {position} could not be written to {self.folder}"
            raise UserError(f"{where}: {reason}. {rest}") from None

    def close(self) -> None:
        """Waits for the checkpoint being written. Only logs a failure, because another error ends the run."""
        try:
            self.flush()
        except UserError as error:
            log.warning("%s", error)

    def keep_states(self) -> None:
        """Keeps the state of the other callbacks for the next call of `fit`, at whose start they reset themselves."""
        self.states = [state_of(callback) for callback in self.tracked_callbacks]

    def _metadata(self):
        states = [state_of(callback) for callback in self.tracked_callbacks]
        return {**self.metadata, "format": checkpoint_file.FORMAT, "version": checkpoint_file.version(),
                "epoch": self.position.epoch, "images": self.position.images,
                "best": "" if self.best is None else repr(self.best), "monitor": self.monitor,
                "about": json.dumps(self.fingerprint, sort_keys=True),
                "callbacks": states_as_json(states, self.tracked_callbacks),
                **({"stopped": "1"} if self.stopped else {})}

    def _write(self, state, averages, metadata, improved):
        self.folder.mkdir(parents=True, exist_ok=True)
        for partial in (*self.folder.glob(".*.partial"), *self.folder.glob(".tmp*")):  # `.tmp*` is of safetensors
            partial.unlink()  # left by a killed process: only one process writes here
        size = sum(array.nbytes for array in state.values())
        if shutil.disk_usage(self.folder).free < 4 * size:
            log.warning("the disk of %s is nearly full: %.0f MiB are free, a checkpoint takes %.0f MiB", self.folder,
                        shutil.disk_usage(self.folder).free / 2**20, size / 2**20)
        own = {n: a for n, a in state.items() if n.startswith(("model/", "optimizer/"))}
        averages.pop("last_update", None)
        if improved:
            averaged = bool(averages) and self.monitor.startswith("val_ema_")
            best = own | {f"model/{n}": a for n, a in averages.items()} if averaged else own
            safetensors_io.save(self.folder / "best.safetensors", best,
                                metadata | {"weights": "average" if averaged else "raw"})
        if averages and not metadata["images"]:
            weights = {n.removeprefix("model/"): a for n, a in own.items() if n.startswith("model/")}
            safetensors_io.save(self.folder / "ema.safetensors", weights | averages, metadata | {"weights": "average"})
        # This file comes last: a resumed run starts from it, so an interruption here repeats the epoch and `best` too.
        new = self.folder / ".new.safetensors"
        try:
            safetensors_io.save(new, state, metadata)
            last, *older = self._paths(self.folder)
            for younger, path in reversed(list(zip([last, *older], older, strict=False))):
                if younger.is_file():
                    os.replace(younger, path)
            os.replace(new, last)
            flush_to_disk(self.folder)
        finally:
            new.unlink(missing_ok=True)

    def _paths(self, folder):
        """The paths of the newest checkpoint and of the older ones."""
        return [folder / "last.safetensors", *(folder / f"last.{i}.safetensors" for i in range(1, self.keep))]

    def _state_of(self, model):
        averages = {} if self.ema is None else self.ema.variables
        return {**checkpoint_file.variables(model), **{f"ema/{n}": v for n, v in averages.items()}}

    # --- reading --------------------------------------------------------------------------------------------------

    def restore(self, model: keras.Model, folder: Path | None = None, same_data: bool = True,
                may_differ: Sequence[str] = ()) -> Position:
        """Loads the newest intact checkpoint into a compiled model. Returns the `Position` to resume from.

        Waits for the checkpoint being written. Skips damaged checkpoints with a warning. Without a checkpoint the
        position is the start of the run.

        Args:
            model: compiled `keras.Model`.
            folder: run folder to read from. Defaults to `None`: the folder of this callback.
            same_data: bool, whether to reject a checkpoint with another `fingerprint`. Defaults to `True`.
            may_differ: keys of the fingerprint that are not compared. Defaults to `()`. Keys that the checkpoint lacks,
                because an older version wrote it, are not compared either.

        The optimizer's wrappers and the average may be new; they then start at this position.

        Raises:
            UserError: no checkpoint is intact, or it belongs to another model, to other data or to a newer version.
        """
        self.flush()
        folder = self.folder if folder is None else pathlib.Path(folder) / "checkpoints"
        found = checkpoint_file.newest(folder)
        if found is None:
            return Position()
        path, tensors, metadata = found
        checkpoint_file.check_version(path, metadata)
        about = json.loads(metadata["about"])
        for key, value in self.fingerprint.items():
            if same_data and key not in may_differ and about.get(key, value) != value:
                raise UserError(f"{path} belongs to a run with another {key}: {about[key]!r}, now {value!r}.")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if self.ema is not None:
            self.ema.build(model)
        state = self._state_of(model)
        wanted = checkpoint_file.needed(model, state)
        safetensors_io.assign({n: v for n, v in state.items() if n in tensors or n in wanted}, tensors, path)
        if self.ema is not None and "ema/last_update" not in tensors:
            self.ema.start()
        # Older files do not name the value; it was always this one. The best of another value is not comparable.
        same_monitor = metadata.get("monitor", "val_top1") == self.monitor
        self.best = float(metadata["best"]) if metadata["best"] and same_monitor else None
        states = json.loads(metadata["callbacks"])
        self.states = states if len(states) == len(self.tracked_callbacks) else None
        self.stopped = "stopped" in metadata
        self.resumed = checkpoint_file.with_loss_metric({n: t for n, t in tensors.items() if n.startswith("metrics/")})
        self.start = self.position = Position(int(metadata["epoch"]), int(metadata["images"]))
        return self.start
