"""Checkpoints: `checkpoints/last.safetensors` and `best.safetensors`, each replaced in one step.

A checkpoint holds every variable of the model and of its optimizer by path, the epoch it was written after and the
best accuracy so far. A process killed while writing leaves the previous file.
"""

import pathlib

import keras

from keras_tricks.errors import UserError
from keras_tricks.weights import files


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch; keeps the best by `monitor`.

    Args:
        folder: run folder; files go to its `checkpoints/`.
        monitor: name of a value in the epoch logs, larger is better. Defaults to `"val_top1"`.
        ema: `WeightEMA` of the run, or `None`. Its averages go into `last.safetensors`, to be continued, and into
            `ema.safetensors`, to be loaded as weights.
    """

    def __init__(self, folder, monitor="val_top1", ema=None):
        super().__init__()
        self.ema = ema
        self.folder = pathlib.Path(folder) / "checkpoints"
        self.monitor = monitor
        self.best = None

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor)
        improved = value is not None and (self.best is None or value > self.best)
        if improved:
            self.best = float(value)
        metadata = {"epoch": epoch + 1, "best": "" if self.best is None else repr(self.best)}
        self.folder.mkdir(parents=True, exist_ok=True)
        if improved:
            files.save(self.folder / "best.safetensors", variables(self.model), metadata)
        if self.ema is not None:
            averages = {n: v for n, v in self.ema.variables.items() if n != "last_update"}
            files.save(self.folder / "ema.safetensors", {**files.by_path(self.model.variables), **averages}, metadata)
        # Last: this is what a continued run starts from, so an epoch cut short here is done again, best and all.
        files.save(self.folder / "last.safetensors", self._everything(self.model), metadata)

    def _everything(self, model):
        averages = {} if self.ema is None else self.ema.variables
        return {**variables(model), **{f"ema/{n}": v for n, v in averages.items()}}

    def restore(self, model, folder=None):
        """Loads `last.safetensors` into a compiled model. Returns the number of epochs done, 0 without a file.

        `folder`: run folder to read from. Defaults to the one written to.
        """
        path = (self.folder if folder is None else pathlib.Path(folder) / "checkpoints") / "last.safetensors"
        if not path.is_file():
            return 0
        tensors, metadata = files.read(path)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if self.ema is not None:
            self.ema.build(model)
        files.assign(self._everything(model), tensors, path)
        self.best = float(metadata["best"]) if metadata.get("best") else None
        try:
            return int(metadata["epoch"])
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} was not written by a training run: it does not say which epoch.") from error


def variables(model):
    """{name in the file: variable} of a compiled model: `model/...` and `optimizer/...`."""
    network = getattr(model, "student", model)  # a distiller's teacher has a file of its own
    return {
        **{f"model/{p}": v for p, v in files.by_path(network.variables).items()},
        **{f"optimizer/{p}": v for p, v in files.by_path(model.optimizer.variables).items()},
    }
