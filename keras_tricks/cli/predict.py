"""print labels and probabilities of image files"""

import csv
import glob
import json
import os
import sys
import time

from absl import logging

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

FORMATS = ("text", "json", "csv")


def add_arguments(parser):
    parser.add_argument("what", help="run folder, or model name")
    parser.add_argument("images", nargs="+", help="image files, folders, patterns such as 'photos/*.jpg', or - for a "
                                                  "list on standard input, one path per line")
    parser.add_argument("--weights", help="use these weights: for a model a file, a run folder or a name such as "
                                          "timm/resnet50d.ra2_in1k; for a run raw, its unaveraged weights")
    parser.add_argument("--set", action="append", default=[], metavar="data.KEY=VALUE", dest="assignments",
                        help="change the preprocessing of the weights; may be repeated")
    parser.add_argument("--top", type=arguments.count(1), default=5,
                        help="print this many labels per image (default: 5); all above 50 %% if images have "
                             "several labels")
    parser.add_argument("--format", choices=FORMATS, default="text", help="set the output format (default: text)")
    parser.add_argument("--embeddings", metavar="FILE.npy", help="also write the input of the classifier, one row for "
                                                                 "each image of the output, float32 (images, features)")


def run(args):
    from keras_tricks import evaluation

    _check_embeddings(args.embeddings)
    paths, failures, vectors = find_images(args.images), [], []
    bar = _Bar(len(paths))

    def failed(path, reason):
        failures.append(path)
        bar.clear()
        print(f"keras-tricks: {printable(path)} cannot be read ({reason})", file=sys.stderr)

    predicted = evaluation.predict(args.what, paths, args.top, args.weights, args.assignments, failed,
                                   vectors.append if args.embeddings else None)
    {"text": _write_text, "json": _write_json, "csv": _write_csv}[args.format](bar.watch(predicted, failures))
    if args.embeddings:
        _write_embeddings(vectors, args.embeddings)
    if failures:
        sys.stdout.flush()
        sys.exit(1)


def _check_embeddings(path):
    from keras_tricks.utils.atomic_files import writable_folder

    if path is None:
        return
    if not path.endswith(".npy"):
        raise UserError(f"--embeddings writes a NumPy file, whose name ends in .npy. Received: {path}")
    if os.path.isdir(path):
        raise UserError(f"--embeddings {path} is a folder: give the name of a file.")
    writable_folder(os.path.dirname(path) or ".")


def _write_embeddings(vectors, path):
    import numpy as np

    from keras_tricks.utils.atomic_files import atomic_write

    if not vectors:
        logging.warning("no image could be read: %s is not written", path)
        return
    with atomic_write(path, "--embeddings") as partial:
        np.save(partial, np.stack(vectors).astype("float32"))


class _Bar:
    """A line on stderr that counts images, if stderr is a terminal. It is cleared before other output."""

    EVERY = 0.2  # seconds between two updates

    def __init__(self, total):
        self.total, self.shown, self.is_on = total, False, sys.stderr.isatty()
        self.started = self.updated = time.monotonic()

    def watch(self, predicted, failures):
        """Yields the results. `failures` is a list that grows with the files that cannot be read."""
        for done, result in enumerate(predicted, start=1):
            self.clear()
            yield result
            self.update(done + len(failures))
        self.clear()

    def update(self, done):
        now = time.monotonic()
        if self.is_on and now - self.updated > self.EVERY:
            self.updated, self.shown = now, True
            rate = done / (now - self.started)
            print(f"{done:,} of {self.total:,} images, {rate:,.0f} images/s", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self.shown = False


def find_images(words):
    """Expands the arguments of the command line to a list of image files.

    Args:
        words: paths, folders (all images in them, at any depth), patterns, or `"-"`.

    Raises:
        UserError: a folder without images, a pattern that matches nothing, or no path at all.
    """
    found = []
    for word in words:
        if word == "-":
            found += [line for line in (line.rstrip("\r\n") for line in sys.stdin or ()) if line]
        elif os.path.isdir(word):
            found += _images_in(word)
        elif glob.has_magic(word) and not os.path.exists(word):
            matches = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))
            if not matches:
                raise UserError(f"No file matches {word}.")
            found += matches
        else:
            found.append(word)
    if not found:
        raise UserError("predict received no image: the list on standard input is empty.")
    return found


def _images_in(folder):
    from keras_tricks.data.sources.folder_scan import FORMATS, LeftOut, list_images

    left_out = LeftOut()
    found = [image.path for image in list_images(folder, left_out)]
    for what, count, why in left_out.rows():
        logging.info("%s: %d %s: %s", folder, count, what, why)
    if not found:
        raise UserError(f"The folder {folder} has no images ({FORMATS}).")
    return found


def _write_text(predicted):
    for path, answers in predicted:
        print(path)
        for label, probability in answers:
            print(f"  {100 * probability:6.2f} %  {label}")
        if not answers:  # several labels an image
            print("  no label above 50 %")


def _write_json(predicted):
    """Prints one JSON array with one line per image."""
    before = "["
    for path, answers in predicted:
        labels = [{"label": label, "probability": probability} for label, probability in answers]
        print(f"{before}\n{json.dumps({'path': str(path), 'answers': labels})}", end="")
        before = ","
    print("[]" if before == "[" else "\n]")


def _write_csv(predicted):
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "rank", "label", "probability"])
    for path, answers in predicted:
        for rank, (label, probability) in enumerate(answers, start=1):
            writer.writerow([path, rank, label, f"{probability:.6g}"])
        if not answers:  # several labels an image: none above 50 %
            writer.writerow([path, "", "", ""])
