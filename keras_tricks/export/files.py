"""Writing the finished model: `.keras` for Keras, a SavedModel for everything that reads TensorFlow."""

import os
import pathlib
import shutil


def export(model, folder, formats=("keras", "saved_model")):
    """Writes `folder/model.keras` and `folder/saved_model/`.

    Each is written beside its place and then moved there.

    Args:
        model: `keras.Model`.
        folder: made if missing.
        formats: any of `"keras"` (`keras.models.load_model`) and `"saved_model"` (`tf.saved_model.load`, then
            `.serve(x)`).

    Returns:
        {format: path}.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    if "keras" in formats:
        partial, written["keras"] = folder / "partial.keras", folder / "model.keras"
        model.save(partial)
        os.replace(partial, written["keras"])
    if "saved_model" in formats:
        partial, written["saved_model"] = folder / "partial_saved_model", folder / "saved_model"
        for leftover in (partial, written["saved_model"]):
            shutil.rmtree(leftover, ignore_errors=True)
        model.export(partial, format="tf_saved_model", verbose=False)
        os.replace(partial, written["saved_model"])
    return written
