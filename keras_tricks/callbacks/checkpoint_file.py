"""The contents of a checkpoint file: names of the variables, the position of the run, the version of the format."""

import dataclasses
import importlib.metadata
import logging

import keras
import numpy as np

from keras_tricks.losses import trained_network
from keras_tricks.optimizers.wrapper import innermost
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

log = logging.getLogger("absl")

FORMAT = 1  # version of the file format; increased when older packages cannot read the files


@dataclasses.dataclass(frozen=True)
class Position:
    """A position in a run: after `epoch` epochs and `images` images of the next epoch."""

    epoch: int = 0
    images: int = 0

    def __str__(self):
        return f"{self.images:,} images into epoch {self.epoch + 1}" if self.images else f"after epoch {self.epoch}"


def newest(folder):
    """The newest intact checkpoint in a folder: (path, {name: array}, metadata), or `None` if the folder has none.

    Raises:
        UserError: all checkpoints in the folder are damaged.
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
            log.warning("%s Resuming from %s.", reason, path.name)
        return path, tensors, metadata
    if reasons:
        raise UserError(f"{' '.join(reasons)} No checkpoint in {folder} is intact: start a new run in another folder.")
    return None


def variables(model):
    """{name in the file: variable} of a compiled model: `model/...` and `optimizer/...`."""
    network = trained_network(model)  # a distiller's teacher has a separate file
    return {
        **{f"model/{p}": v for p, v in safetensors_io.by_path(network.variables).items()},
        **{f"optimizer/{p}": v for p, v in safetensors_io.by_path(model.optimizer.variables).items()},
    }


def needed(model, state):
    """The names that a checkpoint must contain: those of the model and of the innermost optimizer."""
    inner = {f"optimizer/{v.path}" for v in innermost(model.optimizer).variables}
    return {n for n in state if n.startswith("model/") or n in inner}


def metrics(model):
    """{name in the file: variable} of the metrics, which accumulate over an epoch."""
    found = [variable for metric in model.metrics for variable in metric.variables]
    return {f"metrics/{i}": variable for i, variable in enumerate(found)}


def with_loss_metric(tensors):
    """The metrics of a checkpoint. keras_tricks 0.1.0 had no metric of the loss: Keras' own loss has the same sums."""
    if len(tensors) == 6:
        return {**tensors, "metrics/6": tensors["metrics/0"], "metrics/7": tensors["metrics/1"]}
    return tensors


def is_finite(values):
    """Whether an array has only finite numbers."""
    return values.dtype.kind in "iub" or np.isfinite(values.astype("float32", copy=False)).all()


def copies(variables):
    """{name: array} in separate memory: that of a tensor may change while the thread writes."""
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def version():
    """The version of this package."""
    try:
        return importlib.metadata.version("keras-tricks")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def check_version(path, metadata):
    """Raises `UserError` if the file has no version of the format, or a newer one than this package reads."""
    try:
        found = int(metadata["format"])
    except (KeyError, ValueError):
        raise UserError(f"{path} was not written by a training run: it has no format version.") from None
    if found > FORMAT:
        raise UserError(f"{path} was written by keras-tricks {metadata.get('version')}, which is newer than this one "
                        f"({version()}): pip install --upgrade keras-tricks.")
