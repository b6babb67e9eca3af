"""`log.txt` of a run, and the lines that close it."""

import logging

import absl.logging

from keras_tricks.utils.errors import is_ours
from keras_tricks.utils.summary import read_summary

log = logging.getLogger("absl")

INPUT_BOUND = 0.2  # share of the training time spent waiting for images above which the log says so


class log_file:
    """Copies log lines to `log.txt` of the run folder while open."""

    def __init__(self, folder):
        self.handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        self.handler.handleError = lambda record: None  # a full disk is reported when the run writes
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


def log_bad_images(source):
    """Logs the name of each broken image that was left out."""
    for name, split in (("training", source.train), ("validation", source.validation)):
        if split.bad is not None and split.bad.reasons:
            log.warning("%d broken %s images were left out:", len(split.bad.reasons), name)
            for path, reason in split.bad.reasons.items():
                log.warning("  %s: %s", path, reason)


def log_result(folder):
    """Logs the accuracy of a finished run, and whether its input was too slow."""
    rows = read_summary(folder)
    scored = [r for r in rows if r["top1"]]
    if scored:
        best = max(scored, key=lambda r: float(r["top1"]))
        log.info("top-1 %s %% after the last epoch; best %s %% after epoch %s. Everything is in %s",
                 rows[-1]["top1"], best["top1"], best["epoch"], folder)
    waits = [float(r["data_wait"]) for r in rows if r["data_wait"]]
    if waits and sum(waits) / len(waits) > INPUT_BOUND:
        log.warning("input-bound: %.0f %% of the training time was spent waiting for images. `keras-tricks benchmark "
                    "--data %s` shows what they cost; with a data service (--data-service) other machines can make "
                    "them.", 100 * sum(waits) / len(waits), folder / "recipe.json")
