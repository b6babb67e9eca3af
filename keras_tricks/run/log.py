"""`log.txt` of a run, and its closing lines."""

import contextlib
import logging
import os
import traceback

import absl.logging

from keras_tricks.utils.errors import UserError, is_ours, keep_traceback, one_line
from keras_tricks.utils.summary import best_row, read_summary, score_of
from keras_tricks.utils.text import printable
from keras_tricks.weights import find

log = logging.getLogger("absl")

INPUT_BOUND = 0.2  # share of the training time spent waiting for images, above which the log warns


class log_file:
    """A context in which log lines are copied to `log.txt` of the run folder, with the error that ends it.

    Raises:
        UserError: `log.txt` cannot be written.
    """

    def __init__(self, folder):
        self.path = folder / "log.txt"
        try:
            self.handler = logging.FileHandler(self.path, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({error.strerror}): remove it, or give --output another "
                            "folder.") from None
        self.handler.handleError = lambda record: None  # a full disk is reported when the run writes
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.handler.addFilter(is_ours)

    def __enter__(self):
        log.addHandler(self.handler)
        # Through absl: Keras and TensorFlow save and restore absl's verbosity, which undoes `log.setLevel`.
        self.verbosity = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.INFO)

    def __exit__(self, _, error, __):
        log.removeHandler(self.handler)
        absl.logging.set_verbosity(self.verbosity)
        if isinstance(error, UserError):
            self._write(f"ended: {one_line(error)}")
        elif isinstance(error, Exception):
            self._write("".join(traceback.format_exception(error)))
            keep_traceback(error, self.path)
        with contextlib.suppress(OSError):
            self.handler.flush()
            os.fsync(self.handler.stream.fileno())
        self.handler.close()

    def _write(self, text):
        """One record in the file alone: the console shows the error when the process ends."""
        self.handler.handle(logging.LogRecord("absl", logging.ERROR, __file__, 0, text, None, None))


def log_bad_images(source):
    """Logs the name of each broken image that was left out."""
    for name, split in (("training", source.train), ("validation", source.validation)):
        if split.bad is not None and split.bad.reasons:
            log.warning("%d broken %s images were left out:", len(split.bad.reasons), name)
            for path, reason in split.bad.reasons.items():
                log.warning("  %s: %s", printable(path), reason)


def log_result(folder):
    """Logs the accuracy of a finished run, and a warning if it was input-bound."""
    rows = read_summary(folder)
    best = best_row(rows)
    if best is not None:
        of = " of the averaged weights" if best["ema_top1"] else ""
        name, score = score_of(best)
        log.info("%s%s %s %% after the last epoch; best %s %% after epoch %s. Run folder: %s", name, of,
                 score_of(rows[-1])[1], score, best["epoch"], folder)
    waits = [float(r["data_wait"]) for r in rows if r["data_wait"]]
    if waits and sum(waits) / len(waits) > INPUT_BOUND:
        log.warning("input-bound: %.0f %% of the training time was spent waiting for images. Measure the pipeline with "
                    "`keras-tricks benchmark --data %s`, or let other machines prepare the batches (--data-service).",
                    100 * sum(waits) / len(waits), folder / "recipe.json")


def log_preprocessing(final, published, weights, otherwise):
    """Logs the preprocessing and the source of each value: the command line, the weights or `otherwise`.

    Args:
        final: `Recipe` that will be used.
        published: the same recipe before the command line changed it.
        weights: file or name.
        otherwise: `"recipe"` or `"model"`, the source of the remaining values.
    """
    info = find(weights).info
    from_weights = info.data() if info else {}
    items = []
    for key in ("test_size", "eval_crop", "crop_pct", "crop_padding", "interpolation", "mean", "std"):
        value = getattr(final.data, key)
        field = "test_image_size" if key == "test_size" else key
        changed = value != getattr(published.data, key)
        source = "command line" if changed else "weights" if field in from_weights else otherwise
        shown = tuple(round(v, 3) for v in value) if isinstance(value, tuple) else value
        items.append(f"{field} {shown} ({source})")
    log.info("preprocessing: %s", ", ".join(items))
