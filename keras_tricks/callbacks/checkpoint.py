"""Checkpoints: state a run needs to go on exactly, from any step.

    last.safetensors, last.1.safetensors, ...   the newest and those before it: what a continued run starts from
    best.safetensors                            weights after the epoch with the best validation accuracy
    ema.safetensors                             averaged weights, if there are any

A checkpoint holds every variable of the model, its optimizer, its metrics and its weight average by path, the place in
the data (epoch and images), the state of other callbacks, what the run is, and a checksum over all of it. It is written
beside its place and moved there, in a thread: the training goes on with a copy taken in between. A process killed at
any moment leaves whole files; one that was damaged later is found by its checksum, and the one before it is taken.
"""

import concurrent.futures
import dataclasses
import json
import logging
import os
import pathlib
import shutil
import time

import keras
import numpy as np

from keras_tricks.callbacks.watchdog import NonFiniteLoss
from keras_tricks.utils.atomic_files import is_disk_full
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

log = logging.getLogger("absl")

FORMAT = 1  # of the files; raised when an older package could not read them


@dataclasses.dataclass(frozen=True)
class Position:
    """A place in a run: `epoch` epochs and `images` images of the next one are done."""

    epoch: int = 0
    images: int = 0

    def __str__(self):
        return f"{self.images:,} images into epoch {self.epoch + 1}" if self.images else f"after epoch {self.epoch}"


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch, and within epochs when a plan is given; keeps the best by `monitor`.

    Args:
        folder: run folder; files go to its `checkpoints/`.
        monitor: name of a value in the epoch logs, larger is better. Defaults to `"val_top1"`.
        ema: `WeightEMA` of the run, or `None`. Its averages go into `last.safetensors`, to be continued, and into
            `ema.safetensors`, to be loaded as weights.
        plan: `BatchSizePlan` of the run. Defaults to `None`: only whole epochs are saved.
        every_steps: integer > 0, also save after so many batches of an epoch. Needs `plan`.
        every_minutes: number > 0, also save when so long ago was the last time. Needs `plan`.
        keep: integer > 0, newest files kept. Defaults to `2`.
        about: {str: str} that must be the same when the run is continued, such as the data.
        callbacks: other callbacks whose state is saved and restored, such as `keras.callbacks.EarlyStopping`: their
            numbers, or what their `state()` returns. They stand before this one in the list given to `fit`.

    Writing takes place in a thread. `flush()` waits for it; `fit` does at its end.
    """

    def __init__(self, folder, monitor="val_top1", ema=None, plan=None, every_steps=None, every_minutes=None, keep=2,
                 fingerprint=None, callbacks=()):
        super().__init__()
        self.folder = pathlib.Path(folder) / "checkpoints"
        self.monitor, self.ema, self.plan = monitor, ema, plan
        self.every_steps, self.every_minutes, self.keep = every_steps, every_minutes, keep
        self.fingerprint, self.tracked_callbacks = dict(fingerprint or {}), list(callbacks)
        self.best = None
        self.position = self.start = Position()
        self.resumed, self.pending, self.states = {}, {}, None  # of the file, until `fit` begins
        self.writer, self.writing = concurrent.futures.ThreadPoolExecutor(1, "checkpoint"), None
        self.saved, self.offset, self.last_step = time.monotonic(), 0, (0, 0)

    # --- during fit -----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self.saved = time.monotonic()
        if self.states is not None:
            for callback, state in zip(self.tracked_callbacks, self.states, strict=True):
                _set_state(callback, state)
            self.states = None

    def on_epoch_begin(self, epoch, logs=None):
        self.position = self.start if epoch == self.start.epoch else Position(epoch)
        self.offset = self.position.images // self.plan.phase(epoch).step_size if self.plan else 0
        self.pending = dict(self.resumed) if self.position.images else {}
        for name, variable in _metrics(self.model).items():
            if name in self.pending:
                variable.assign(self.pending.pop(name))

    def on_train_batch_end(self, batch, logs=None):
        if self.writing is not None and self.writing[0].done():
            self.flush()  # raises what went wrong
        self.last_step = (self.position.epoch, batch + self.offset)
        if self.pending:  # Keras makes some metrics during the first step
            for name, variable in _metrics(self.model).items():
                if name in self.pending:
                    variable.assign_add(self.pending[name])
            self.pending = {}
        if self.plan is None:
            return
        epoch, phase = self.position.epoch, self.plan.phase(self.position.epoch)
        step = batch + 1 + self.offset
        self.position = Position(epoch, step * phase.step_size)
        if step % phase.accumulation_steps or step == phase.steps_per_epoch:
            return  # an update under way; or the end of the epoch, which saves
        late = self.every_minutes and time.monotonic() - self.saved > 60 * self.every_minutes
        if late or (self.every_steps and step % self.every_steps == 0):
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor)
        improved = value is not None and (self.best is None or value > self.best)
        if improved:
            self.best = float(value)
        self.position = Position(epoch + 1)
        self.save(improved)

    def on_train_end(self, logs=None):
        self.flush()

    # --- writing --------------------------------------------------------------------------------------------------

    def save(self, improved=False):
        """Begins to write a checkpoint of this moment. `improved`: bool, of `best.safetensors` too.

        Raises:
            NonFiniteLoss: a weight is not a number, so the checkpoint before stays the newest.
        """
        self.flush()
        self.saved = time.monotonic()
        state = _copies(self._state_of(self.model))
        for weight in self.model.trainable_variables:
            values = state.get(f"model/{weight.path}")
            if values is not None and not np.isfinite(values.astype("float32", copy=False)).all():
                raise NonFiniteLoss(*self.last_step, f"the weights {weight.path} are not finite")
        if self.position.images:
            state |= _copies(_metrics(self.model))
        averages = {n.removeprefix("ema/"): a for n, a in state.items() if n.startswith("ema/")}
        metadata = self._metadata()
        self.writing = self.writer.submit(self._write, state, averages, metadata, improved), self.position

    def flush(self):
        """Waits until state is on disk. Raises `UserError` when it could not be written."""
        if self.writing is None:
            return
        (writing, position), self.writing = self.writing, None
        try:
            writing.result()
        except OSError as error:
            before = next((p for p in self._paths(self.folder) if p.is_file()), None)
            rest = "There is none before it."
            if before:
                rest = f"The one before is kept: continue from {before} with --resume."
            reason = "the disk is full" if is_disk_full(error) else error.strerror or str(error)
            where = f"The checkpoint {position} could not be written to {self.folder}"
            raise UserError(f"{where}: {reason}. {rest}") from None

    def close(self):
        """Waits for what is being written; a failure is only logged, because something else ends the run."""
        try:
            self.flush()
        except UserError as error:
            log.warning("%s", error)

    def _metadata(self):
        states = [_state(callback) for callback in self.tracked_callbacks]
        return {"format": FORMAT, "version": _version(), "epoch": self.position.epoch, "images": self.position.images,
                "best": "" if self.best is None else repr(self.best),
                "about": json.dumps(self.fingerprint, sort_keys=True),
                "callbacks": json.dumps(states)}

    def _write(self, state, averages, metadata, improved):
        self.folder.mkdir(parents=True, exist_ok=True)
        for partial in (*self.folder.glob(".*.partial"), *self.folder.glob(".tmp*")):  # the latter are safetensors'
            partial.unlink()  # of a process that was killed: nobody else writes here
        size = sum(array.nbytes for array in state.values())
        if shutil.disk_usage(self.folder).free < 4 * size:
            log.warning("the disk of %s is nearly full: %.0f MiB are free, a checkpoint takes %.0f MiB", self.folder,
                        shutil.disk_usage(self.folder).free / 2**20, size / 2**20)
        own = {n: a for n, a in state.items() if n.startswith(("model/", "optimizer/"))}
        if improved:
            safetensors_io.save(self.folder / "best.safetensors", own, metadata)
        if averages and not metadata["images"]:
            averages.pop("last_update")
            weights = {n.removeprefix("model/"): a for n, a in own.items() if n.startswith("model/")}
            safetensors_io.save(self.folder / "ema.safetensors", weights | averages, metadata)
        # Last: this is what a continued run starts from, so an epoch cut short here is done again, best and all.
        new = self.folder / ".new.safetensors"
        try:
            safetensors_io.save(new, state, metadata)
            last, *older = self._paths(self.folder)
            for younger, path in reversed(list(zip([last, *older], older, strict=False))):
                if younger.is_file():
                    os.replace(younger, path)
            os.replace(new, last)
        finally:
            new.unlink(missing_ok=True)

    def _paths(self, folder):
        """The newest checkpoint and those before it."""
        return [folder / "last.safetensors", *(folder / f"last.{i}.safetensors" for i in range(1, self.keep))]

    def _state_of(self, model):
        averages = {} if self.ema is None else self.ema.variables
        return {**variables(model), **{f"ema/{n}": v for n, v in averages.items()}}

    # --- reading --------------------------------------------------------------------------------------------------

    def restore(self, model, folder=None, same_data=True):
        """Loads the newest whole checkpoint into a compiled model. Returns the `Position` to go on from.

        A damaged one is passed over, with a warning. Without any the position is the start. What is being written is
        waited for.

        Args:
            model: compiled `keras.Model`.
            folder: run folder to read from. Defaults to the one written to.
            same_data: bool, refuse a checkpoint of another `fingerprint`. Defaults to `True`.

        What wraps the optimizer, and the average, may be new: then they begin here.

        Raises:
            UserError: no checkpoint is whole; it is of another model, of other data or of a newer version.
        """
        self.flush()
        folder = self.folder if folder is None else pathlib.Path(folder) / "checkpoints"
        found = newest(folder)
        if found is None:
            return Position()
        path, tensors, metadata = found
        _check_version(path, metadata)
        about = json.loads(metadata["about"])
        for key, value in self.fingerprint.items():
            if same_data and about.get(key, value) != value:
                raise UserError(f"{path} is of a run with another {key}: {about[key]!r}, now {value!r}.")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if self.ema is not None:
            self.ema.build(model)
        state = self._state_of(model)
        wanted = _needed(model, state)
        safetensors_io.assign({n: v for n, v in state.items() if n in tensors or n in wanted}, tensors, path)
        if self.ema is not None and "ema/last_update" not in tensors:
            self.ema.start()
        self.best = float(metadata["best"]) if metadata["best"] else None
        states = json.loads(metadata["callbacks"])
        self.states = states if len(states) == len(self.tracked_callbacks) else None
        self.resumed = {n: t for n, t in tensors.items() if n.startswith("metrics/")}
        self.start = self.position = Position(int(metadata["epoch"]), int(metadata["images"]))
        return self.start


def newest(folder):
    """The newest whole checkpoint in a folder: (path, {name: array}, metadata), or `None` without any.

    Raises:
        UserError: there are some, all of them damaged.
    """
    paths = sorted(folder.glob("last*.safetensors"), key=lambda p: (len(p.name), p.name))
    reasons = []
    for path in paths:
        try:
            tensors, metadata = safetensors_io.read(path, checked=True)
        except UserError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            log.warning("%s Going on from %s.", reason, path.name)
        return path, tensors, metadata
    if reasons:
        raise UserError(f"{' '.join(reasons)} No checkpoint in {folder} is whole: start again in another folder.")
    return None


def variables(model):
    """{name in the file: variable} of a compiled model: `model/...` and `optimizer/...`."""
    network = getattr(model, "student", model)  # a distiller's teacher has a file of its own
    return {
        **{f"model/{p}": v for p, v in safetensors_io.by_path(network.variables).items()},
        **{f"optimizer/{p}": v for p, v in safetensors_io.by_path(model.optimizer.variables).items()},
    }


def _needed(model, state):
    """The names a checkpoint cannot lack: the model's, and those of the optimizer inside all wrappers."""
    optimizer = model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    inner = {f"optimizer/{v.path}" for v in optimizer.variables}
    return {n for n in state if n.startswith("model/") or n in inner}


def _metrics(model):
    """{name in the file: variable} of the metrics, which an epoch adds up."""
    found = [variable for metric in model.metrics for variable in metric.variables]
    return {f"metrics/{i}": variable for i, variable in enumerate(found)}


def _copies(variables):
    """{name: array}, in memory of their own: a tensor's may change while it is written."""
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def _state(callback):
    if hasattr(callback, "state"):
        return callback.state()
    plain = (int, float, bool, str, type(None))
    found = {k: v for k, v in vars(callback).items() if not k.startswith("_")}
    return {k: v.item() if isinstance(v, np.generic) else v
            for k, v in found.items() if isinstance(v, (*plain, np.generic))}


def _set_state(callback, state):
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    for key, value in state.items():
        setattr(callback, key, value)


def _version():
    import importlib.metadata

    try:
        return importlib.metadata.version("keras-tricks")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _check_version(path, metadata):
    try:
        found = int(metadata["format"])
    except (KeyError, ValueError):
        raise UserError(f"{path} was not written by a training run: it does not say in which format.") from None
    if found > FORMAT:
        raise UserError(f"{path} was written by keras-tricks {metadata.get('version')}, which is newer than this one "
                        f"({_version()}): pip install --upgrade keras-tricks.")
