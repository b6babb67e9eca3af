"""Rejects weights that a model cannot have: values that are not finite, and integers or bools in place of floats."""

import io
import zipfile

import numpy as np

from keras_tricks.utils.errors import UserError


def check_floats(tensors, source):
    """Checks arrays for float variables.

    Args:
        tensors: {name: array}.
        source: name of the file in messages.

    Raises:
        UserError: names the first tensor with another dtype or with infinity or NaN.
    """
    for name, tensor in tensors.items():
        if "float" not in tensor.dtype.name:  # NumPy has no kind for bfloat16
            raise UserError(f"{source}: tensor {name!r} has dtype {tensor.dtype.name}, but weights are floats: it "
                            "holds quantized weights, or no weights.")
        if not np.isfinite(tensor.astype("float32", copy=False)).all():
            raise UserError(f"{source}: tensor {name!r} contains values that are not finite.")


def check_keras_file(path):
    """Checks a `.weights.h5` or `.keras` file before Keras reads it. A file that cannot be opened passes.

    Raises:
        UserError: as `check_floats`. States of optimizers and random generators are not weights.
    """
    import h5py

    try:
        opened = path
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                opened = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(opened, "r") as file:
            tensors = _datasets(file)
    except (OSError, KeyError, zipfile.BadZipFile):
        return  # Keras raises the error
    small = {name: tensor for name, tensor in tensors.items() if tensor.dtype.itemsize == 1 or tensor.dtype.kind == "b"}
    floats = {name: tensor for name, tensor in tensors.items() if "float" in tensor.dtype.name}
    check_floats({**small, **floats}, path.name)


def _datasets(file):
    """{name: array} of an open HDF5 file, without the optimizer's."""
    found = {}

    def visit(name, node):
        if hasattr(node, "shape") and not name.startswith("optimizer/"):
            found[name] = np.asarray(node)

    file.visititems(visit)
    return found
