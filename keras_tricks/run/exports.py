"""What a finished run exports, in its folder."""

import functools
import logging
import os
import subprocess
import sys

from keras_tricks.run.build import build_network
from keras_tricks.run.lock import locked_output
from keras_tricks.utils.class_names import write_class_names
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


def export_result(ready, folder):
    """Exports the formats of the recipe. Returns the model that takes pixels."""
    from keras_tricks import export
    from keras_tricks.data import evaluation_image

    recipe, source = ready.recipe, ready.source
    build = functools.partial(build_network, recipe, source.num_classes, initial=False, build=ready.build)
    model = export.deployable(build, ready.network, recipe.data)
    is_decoded = recipe.data.channels in (1, 3)  # TensorFlow decodes no file with other channels
    pixels_of = functools.partial(evaluation_image, data=recipe.data) if is_decoded else None
    (folder / "export").mkdir(exist_ok=True)
    here, elsewhere = export.split_by_backend(recipe.export.formats)
    with locked_output(folder / "export", timeout=-1):  # `keras-tricks export` may write there at this moment
        written = export.export(model, folder / "export", here, source.class_names, pixels_of)
        write_class_names(folder / "export", source.class_names)
    for form, path in written.items():
        log.info("exported %s to %s", form, path)
    if elsewhere:
        _export_on_tensorflow(folder, elsewhere)
    return model


def _export_on_tensorflow(folder, formats):
    """Exports what only TensorFlow can write, in a child process."""
    words = ["export", str(folder), "--format", ",".join(formats), "--overwrite"]
    done = subprocess.run([sys.executable, "-m", "keras_tricks", *words], capture_output=True, text=True,
                          env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{', '.join(formats)} could not be exported on TensorFlow ({reason}). Try again with: "
                        f"KERAS_BACKEND=tensorflow keras-tricks export {folder} --format {','.join(formats)}")
    log.info("exported %s on TensorFlow", ", ".join(formats))
