"""Collects what a report shows and writes it."""

import dataclasses
import logging
import pathlib

from keras_tricks.report import images, page, tables
from keras_tricks.report.answers import Answers, answer
from keras_tricks.report.kept import Kept, read_kept
from keras_tricks.report.sections import SHOWN
from keras_tricks.run.weights import run_weights
from keras_tricks.utils.atomic_files import writable_folder, write_text
from keras_tricks.utils.errors import UserError, one_line

log = logging.getLogger("absl")


@dataclasses.dataclass
class Collected:
    """The contents of a report.

    Attributes:
        kept: `Kept`.
        data: description of the images that were evaluated.
        weights: `RunWeights`, or `None` without a checkpoint.
        answers: `Answers`, or `None` if the data or the weights are missing.
        pictures: {index in the split: `data:` URL}.
        training: list of (`data:` URL, [(class, share), ...]), the training images after augmentation.
        rejected: lines that name images and files which are not used.
        missing: sentences on what the report lacks, and why.
        files: paths of the CSV files.
    """

    kept: Kept
    data: str = ""
    weights: object = None
    answers: Answers | None = None
    pictures: dict = dataclasses.field(default_factory=dict)
    training: list = dataclasses.field(default_factory=list)
    rejected: list = dataclasses.field(default_factory=list)
    missing: list = dataclasses.field(default_factory=list)
    files: list = dataclasses.field(default_factory=list)


def write_report(folder, output=None, data_dir=None, mapping=None):
    """Writes the report of a run: an HTML page, and a folder of the same name with its tables as CSV.

    The page needs no other file and no server. Without the data, or without a checkpoint, it has what the run folder
    keeps, and names what is missing.

    Args:
        folder: run folder. The run may still be training.
        output: path of the page, which ends in `.html`. Defaults to `None`: `report.html` in the run folder.
        data_dir: folder of labelled images to evaluate on. Defaults to `None`: the validation split of the run.
        mapping: {class of the data: class of the run}, for names that differ. Defaults to `None`.

    Returns:
        `Collected`; the path of the page is the first of its `files`.

    Raises:
        UserError: not a run folder, `output` cannot be written, or `data_dir` cannot be evaluated.
    """
    kept = read_kept(folder)
    path = pathlib.Path(output) if output else kept.folder / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output takes the name of an HTML file, such as report.html. Received: {path}")
    found = Collected(kept, rejected=list(kept.rejected))
    _answer(found, data_dir, mapping)
    _show_training(found)
    writable_folder(path.parent)
    if found.answers is not None:
        found.files = tables.write_tables(writable_folder(path.with_suffix("")), found.answers)
    write_text(path, page.page(found, path), "--output")
    for sentence in found.missing:
        log.warning("%s", sentence)
    found.files.insert(0, path)
    return found


def _answer(found, data_dir, mapping):
    """Evaluates the best weights of the run image by image."""
    recipe = found.kept.recipe
    if recipe.data.multi_label:
        found.missing.append("No answers to single images, no classes and no calibration: these sections need one "
                             "label an image, and the images of this run have several. `keras-tricks evaluate` has the "
                             "classes.")
        return
    found.data = f"all images of {data_dir}" if data_dir else "the validation split of the run"
    try:
        found.weights = run_weights(found.kept.folder)
    except UserError as error:
        found.missing.append(f"No answers to single images: {one_line(error)}")
        return
    changed = recipe.replace(data={"data_dir": str(data_dir)}) if data_dir else recipe
    try:
        found.answers = answer(changed, found.weights.path, recipe.data, mapping)
        split = found.answers.split
        positions = (*found.answers.mistakes(SHOWN), *found.answers.uncertain(SHOWN),
                     *found.answers.issues[0][:SHOWN])
        found.pictures = images.thumbnails(split, found.answers.numbers[list(positions)])
    except (UserError, OSError) as error:
        if data_dir:
            raise
        found.answers = None
        found.missing.append(f"The validation images cannot be read, so there are no answers to single images, no "
                             f"classes and no calibration: {one_line(error)}")
        return
    _reject(found, "validation", split)
    if not len(found.answers.labels):
        found.answers = None
        found.missing.append("No validation image could be read.")


def _show_training(found):
    try:
        found.training, source = images.training_images(found.kept.recipe)
    except (UserError, OSError) as error:
        found.missing.append(f"The training images cannot be read: {one_line(error)}")
        return
    _reject(found, "training", source.train)


def _reject(found, name, split):
    """Adds the broken images of a split, and the files that are not examples."""
    broken = split.bad.reasons if split.bad is not None else {}
    lines = [f"{name}: {path}: {reason}" for path, reason in broken.items()]
    lines += [f"{name}: {count} {what}: {why}" for what, count, why in split.left_out]
    found.rejected = list(dict.fromkeys([*found.rejected, *lines]))
