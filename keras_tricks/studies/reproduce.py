"""Trains a weight file again from the recipe in its metadata, and compares the weights."""

import dataclasses
import json
import logging
import pathlib

import numpy as np

from keras_tricks import callbacks, training
from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.run.provenance import changed_versions, recipe_in, versions
from keras_tricks.run.resolve import is_same_training
from keras_tricks.run.start import fingerprint
from keras_tricks.run.weights import run_weights
from keras_tricks.utils.errors import UserError, one_line
from keras_tricks.weights import safetensors_io

log = logging.getLogger("absl")


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """Weights beside those that were trained again.

    Attributes:
        path: `pathlib.Path` of the weight file.
        folder: `pathlib.Path` of the new run.
        tensors: integer, number of tensors compared.
        different: {name: largest absolute difference} of the tensors that are not bit-equal.
        changed: sentences that name the versions that differ.
    """

    path: pathlib.Path
    folder: pathlib.Path
    tensors: int
    different: dict
    changed: list

    @property
    def equal(self):
        """Whether all tensors are bit-equal."""
        return not self.different


def reproduce(path, output=None, data_dir=None):
    """Trains the recipe in a weight file again and compares the weights of the same epoch.

    Continues a reproduction that was interrupted.

    Args:
        path: safetensors file that this package wrote: a checkpoint or an export; or a run folder: its best weights.
        output: run folder. Defaults to `runs/reproduce-<recipe name>`.
        data_dir: folder of the data. Defaults to that of the recipe.

    Returns:
        A `Reproduction`.

    Raises:
        UserError: the file has no recipe, is from within an epoch, or its data are not there or have changed; `output`
            has another run.
    """
    path = pathlib.Path(path)
    path = run_weights(path).path if is_run(path) else path
    metadata = safetensors_io.read_metadata(path)
    recipe, epoch, averaged = _goal(metadata, path)
    if data_dir is not None:
        recipe = recipe.replace(data={"data_dir": str(data_dir)})
    _check_data(recipe, metadata, path)
    folder = pathlib.Path(output or pathlib.Path("runs") / f"reproduce-{recipe.name.replace('/', '-')}")
    _check_folder(folder, recipe, path)
    keep = max(recipe.train.keep_checkpoints, recipe.schedule.epochs - epoch + 1)
    recipe = recipe.replace(export={"formats": ()}, train={
        "keep_checkpoints": keep, "checkpoint_steps": None, "checkpoint_minutes": 1e9})
    try:
        training.train(recipe, output=folder, resume=True)
    except callbacks.Interrupted as error:
        again = f"keras-tricks reproduce {path} --output {folder}"
        error.args = (one_line(error).replace(f"keras-tricks train --resume {folder}", again),)
        raise
    replicas = _replicas_of(folder)
    return compare(path, folder, epoch, averaged, changed_versions(metadata, versions(replicas)))


def compare(path, folder, epoch, averaged, changed):
    """The `Reproduction` of a weight file and a run, at an epoch of that run.

    Args:
        path: safetensors file.
        folder: run folder.
        epoch: integer, whole epochs done.
        averaged: bool, whether the weights are averages.
        changed: sentences for the result.
    """
    wanted, _ = safetensors_io.read(path)
    wanted = _model(wanted)
    found = _weights_after(folder, epoch, averaged)
    if wanted.keys() != found.keys():
        odd = sorted(wanted.keys() ^ found.keys())
        raise UserError(f"{path} and the new run have other tensors ({len(odd)}, such as {odd[0]}): its recipe builds "
                        "another network in this version.")
    different = {}
    for name, array in wanted.items():
        if array.dtype != found[name].dtype or array.tobytes() != found[name].tobytes():
            gap = np.abs(array.astype("float64") - found[name].astype("float64"))
            different[name] = float(np.max(gap, initial=0.0))
    return Reproduction(path, folder, len(wanted), different, changed)


def _goal(metadata, path):
    """(recipe, epoch, whether the weights are averages) of a weight file."""
    recipe = recipe_in(metadata, path)
    try:
        epoch, images = int(metadata["epoch"]), int(metadata.get("images", 0))
    except (KeyError, ValueError):
        raise UserError(f"{path} does not record after which epoch it was written.") from None
    if images:
        raise UserError(f"{path} was written within epoch {epoch + 1}, after {images:,} images: only weights after a "
                        "whole epoch can be compared. Name best.safetensors, or an older checkpoint of the run.")
    return recipe, epoch, metadata.get("weights") == "average"


def _check_data(recipe, metadata, path):
    try:
        source = training.open_data(recipe.data)
    except UserError as error:
        raise UserError(f"The data of {path} cannot be opened: {one_line(error)}") from None
    then, now = json.loads(metadata.get("about", "{}")), fingerprint(source)
    for key, value in now.items():
        if then.get(key, value) != value:
            raise UserError(f"The data are not those of {path}: the {key} was {_short(then[key])}, is "
                            f"{_short(value)}. Name the folder of its data with --data-dir.")


def _short(text):
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_folder(folder, recipe, path):
    if not is_run(folder):
        return
    if folder.resolve() in path.resolve().parents:
        raise UserError(f"{folder} is the run of {path}: give --output another folder.")
    if not is_same_training(recipe_of(folder), recipe):
        raise UserError(f"{folder} has a run of another recipe: give --output another folder.")


def _replicas_of(folder):
    """Number of devices of a run, from its newest checkpoint."""
    found = json.loads(safetensors_io.read_metadata(folder / "checkpoints" / "last.safetensors")["versions"])
    return found["replicas"]


def _model(tensors):
    """{name: array} of the model in a weight file; checkpoints have further tensors."""
    own = {name.removeprefix("model/"): array for name, array in tensors.items() if name.startswith("model/")}
    return _without_generators(own or tensors)


def _without_generators(tensors):
    """Exports do not hold the states of random generators."""
    return {name: array for name, array in tensors.items() if not name.endswith("seed_generator_state")}


def _weights_after(folder, epoch, averaged):
    """{name: array} of a run after an epoch: raw weights, or averages."""
    kind, found = "average" if averaged else "raw", []
    for path in sorted((folder / "checkpoints").glob("*.safetensors")):
        metadata = safetensors_io.read_metadata(path)
        if int(metadata["images"]):
            continue
        found.append(f"{path.name} after epoch {metadata['epoch']}")
        if int(metadata["epoch"]) != epoch:
            continue
        tensors, _ = safetensors_io.read(path)
        if metadata.get("weights", "raw") == kind:
            return _model(tensors)
        averages = {name.removeprefix("ema/"): array for name, array in tensors.items() if name.startswith("ema/")}
        averages.pop("last_update", None)
        if averaged and averages:
            return {**_model(tensors), **averages}
    raise UserError(f"The new run kept no {kind} weights after epoch {epoch} ({', '.join(found)}): the results differ.")
