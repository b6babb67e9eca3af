"""The folder of a run: whose it is, and what is written to it beside what the callbacks write.

    recipe.json  env.json  log.txt                  `training.py`, with what stands here
    summary.csv  curves.png  events/  checkpoints/  kt.callbacks
    export/                                         kt.export
"""

import logging
import os
import pathlib
import platform

import absl.logging
import keras

from keras_tricks.callbacks.run_log import read_summary
from keras_tricks.errors import UserError, is_ours
from keras_tricks.files import writable_folder

log = logging.getLogger("absl")


def claim_folder(recipe, output, resume):
    """The run folder, made and known to be writable."""
    base = pathlib.Path("runs") / recipe.name.replace("/", "-")
    if output is None and not resume:
        folder, number = base, 1
        while folder.exists():
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
    else:
        folder = pathlib.Path(output or base)
        if not resume and (folder / "recipe.json").exists():
            raise UserError(f"{folder} already holds a run. Give --output another folder, or --resume to continue it.")
    return writable_folder(folder)


def environment():
    """Versions and devices, for `env.json`."""
    import importlib.metadata

    import tensorflow as tf

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    packages = ("keras-tricks", "keras", "tensorflow", "numpy", "tensorflow-datasets")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_logical_devices()],
        "backend": keras.backend.backend(),
        "versions": {p: version(p) for p in packages},
    }


class log_file:
    """Copies log lines to `log.txt` of the run folder while open."""

    def __init__(self, folder):
        self.handler = logging.FileHandler(folder / "log.txt")
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.handler.addFilter(is_ours)

    def __enter__(self):
        log.addHandler(self.handler)
        # Through absl: Keras and TensorFlow save and restore absl's verbosity, which undoes `log.setLevel`.
        self.verbosity = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.INFO)

    def __exit__(self, *_):
        log.removeHandler(self.handler)
        absl.logging.set_verbosity(self.verbosity)
        self.handler.close()


def report_bad_images(source):
    for name, split in (("training", source.train), ("validation", source.validation)):
        if split.bad is not None and split.bad.reasons:
            log.warning("%d broken %s images were left out:", len(split.bad.reasons), name)
            for path, reason in split.bad.reasons.items():
                log.warning("  %s: %s", path, reason)


def report_result(folder):
    rows = read_summary(folder)
    scored = [r for r in rows if r["top1"]]
    if scored:
        best = max(scored, key=lambda r: float(r["top1"]))
        log.info("top-1 %s %% after the last epoch; best %s %% after epoch %s. Everything is in %s",
                 rows[-1]["top1"], best["top1"], best["epoch"], folder)
    waits = [float(r["data_wait"]) for r in rows if r["data_wait"]]
    if waits and sum(waits) / len(waits) > 0.2:
        log.warning("input-bound: %.0f %% of the training time was spent waiting for images. `keras-tricks benchmark "
                    "--data %s` says what they cost; a data service (--data-service) lets other machines make them.",
                    100 * sum(waits) / len(waits), folder / "recipe.json")
