"""A folder of images: `train/` and `val/`, with one sub-folder per class in each, or the class folders alone.

Broken files cost nothing unless there are some. The graph checks the first and last bytes of each file, and the
checksums of a PNG. A suspicious file, or one that cannot be read, is decoded in Python. If that fails, its name is
recorded and, in training, the next readable image of the split replaces it, so that batches, steps and resumes do not
change.

A JPEG has no checksum, so damage between its ends is not detected. Most of these files decode, with some wrong pixels,
in Pillow as well. One that cannot be decoded stops the pipeline with TensorFlow's error, unless the files that
`find_broken` finds were added to `split.bad` before the pipeline was built.

`folder_scan` says which files are images, and `image_files` how they are read.
"""

import dataclasses
import logging
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment.orientation import orientation
from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.file_access import is_folder, list_entries, read_regular_file
from keras_tricks.data.sources.folder_scan import Listing
from keras_tricks.data.sources.image_files import (
    check_image,
    checked_content,
    has_end_markers,
    png_checksums_ok,
    read_or_empty,
)
from keras_tricks.data.sources.layout import (
    TRAIN_NAMES,
    VALIDATION_NAMES,
    beside_training,
    check_flat,
    check_not_a_wrapper,
    find_splits,
    list_folders,
    open_root,
    scan_and_log,
)
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.names import Paths, broken_in_graph
from keras_tricks.data.sources.source import Source, Split, match_classes
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

HOLD_OUT = 10  # without a validation folder, every tenth image of a class is held out
CHUNK = 1000  # files that are inspected at once

log = logging.getLogger("absl")


def image_folder(data_dir: str | os.PathLike, max_bad_images: int = 100, train_split: str = "train",
                 validation_split: str | None = None, minival: float = 0.0) -> Source:
    """Opens `data_dir/<split>/<class>/<image>`, or `data_dir/<class>/<image>`, holding out every tenth image.

    Images may be in sub-folders of the class folders.

    Args:
        data_dir: folder.
        max_bad_images: integer >= 0.
        train_split: name of the training folder, in any case. Defaults to `"train"`, which also finds `training`.
        validation_split: name of the validation folder, in any case. Defaults to the first that exists of `val`,
            `valid`, `validation`, `dev`, `test`, `testing`. Its classes are matched by name, and may be fewer.
        minival: float in [0, 1), share of the training images to validate on instead, chosen by their names
            (`<class>/<file>`).

    Raises:
        UserError: missing or empty folder, a class folder without images, validation classes that are not trained, a
            layout that is not clear.
    """
    root = open_root(data_dir)
    train_roots, validation_roots = find_splits(root, train_split, validation_split)
    if train_roots:
        if not validation_roots:
            wanted = ", ".join(f"{name}/" for name in VALIDATION_NAMES)
            raise UserError(f"{printable(root)} has {train_roots[0].name}/ but none of {wanted} to validate on.")
        _log_choice(root, train_roots[0], validation_roots[0])
        listing = scan_and_log(train_roots[0])
        check_not_a_wrapper(listing)
        held_out = scan_and_log(validation_roots[0])
        train, validation = listing.files, _by_class(held_out, listing.classes, printable(listing.root))
    else:
        check_flat(root)
        listing = held_out = scan_and_log(root)
        check_not_a_wrapper(listing)
        (train, validation), hint = _hold_out(listing.files), beside_training(root)
        if not any(validation):
            raise UserError(f"{printable(root)} has no {train_split}/ and no class of {HOLD_OUT} images, so none can "
                            f"be held out to validate on. Make {train_split}/ and {VALIDATION_NAMES[0]}/ in it."
                            f"{hint}")
        if hint:
            log.warning("Every tenth image of %s is held out to validate on.%s", printable(root), hint)
        if few := [name for name, paths in zip(listing.classes, validation, strict=True) if not paths]:
            log.info("no image of %d classes is held out to validate on: %s", len(few), _abbreviated(few))
    if minival:
        held_out = listing
        train, validation = split_by_class(listing, minival)
    return Source(
        name=printable(root.name), class_names=listing.classes,
        train=_listed_split(train, listing, max_bad_images),
        validation=_listed_split(validation, held_out, max_bad_images, () if held_out is listing else None),
    )


def evaluation_folder(data_dir: str | os.PathLike, class_names: Sequence[str] | None = None,
                      max_bad_images: int = 100, validation_split: str | None = None) -> Split:
    """All images of a folder of class folders, or of its validation folder, with labels by the names of their classes.

    Args:
        data_dir: folder, as for `image_folder`. Without a training and a validation folder, nothing is held out.
        class_names: the classes in label order. The folder may have fewer. Defaults to `None`, those of the folder.
        max_bad_images: integer >= 0.
        validation_split: name of the folder to evaluate on, if it exists. Defaults as for `image_folder`.

    Raises:
        UserError: missing or empty folder, only a training folder, or a class folder that is not in `class_names`.
    """
    root = open_root(data_dir)
    train, validation = find_splits(root)
    if validation_split and validation_split.lower() in (name.lower() for name in os.listdir(root)):
        validation = find_splits(root, validation_split=validation_split)[1]
    if train and not validation:
        wanted = ", ".join(f"{name}/" for name in VALIDATION_NAMES)
        raise UserError(f"{printable(root)} has {train[0].name}/ but none of {wanted} to evaluate on. To evaluate on "
                        f"the training images, give --data-dir {printable(train[0])}.")
    listing = scan_and_log(validation[0] if validation else root)
    files = _by_class(listing, listing.classes if class_names is None else class_names, "the model")
    log.info("evaluating %d images of %d classes in %s", sum(map(len, files)), len(listing.classes),
             printable(listing.root))
    return _listed_split(files, listing, max_bad_images)


def _log_choice(root, train, validation):
    """Logs which folders are read if their names do not say it, and which are not."""
    if train.name != TRAIN_NAMES[0] or validation.name not in VALIDATION_NAMES:
        log.info("training images: %s, validation images: %s", printable(train), printable(validation))
    others = [entry.name for entry in list_entries(root)
              if is_folder(entry) and entry.name not in (train.name, validation.name)]
    if others:
        log.info("%s: not read: %s", printable(root), list_folders(others))


def _by_class(listing: Listing, class_names, where):
    """The paths of a listing for each of `class_names`, which `where` has."""
    labels = match_classes(listing.classes, class_names, printable(listing.root), where)
    files = [[] for _ in class_names]
    for label, paths in zip(labels, listing.files, strict=True):
        files[label] = paths
    if missing := [name for name, paths in zip(class_names, files, strict=True) if not paths]:
        log.info("%s has no images of %d classes of %s: %s", printable(listing.root), len(missing), where,
                 _abbreviated(missing))
    return files


def _abbreviated(names):
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _hold_out(files):
    """Two lists of paths by class: the training images, and every tenth one."""
    held_out = [paths[HOLD_OUT - 1 :: HOLD_OUT] for paths in files]
    return [[path for i, path in enumerate(paths, 1) if i % HOLD_OUT] for paths in files], held_out


def split_by_class(listing: Listing, minival: float) -> list[list[list[str]]]:
    """Splits the paths of a listing in two, by class: the training images and those held out."""
    rows = [(label, path) for label, paths in enumerate(listing.files) for path in paths]
    skip = len(os.path.join(listing.root, ""))
    parts = split_off((path[skip:].replace(os.sep, "/") for _, path in rows), minival)
    divided = [[[] for _ in listing.classes] for _ in parts]
    for by_class, part in zip(divided, parts, strict=True):
        for label, path in (rows[i] for i in part):
            by_class[label].append(path)
    return divided


def _listed_split(files, listing, max_bad_images, left_out=None):
    """The split of some of the files of a listing. Those that cannot be read count as broken from the start."""
    split = file_split(files, BadImages(max_bad_images), listing.broken)
    split.bad.check()
    left_out = tuple(listing.left_out.rows()) if left_out is None else left_out
    return dataclasses.replace(split, identity=listing.identity, left_out=left_out)


def file_split(files: list[list[str]], bad: BadImages, broken: Mapping[str, str] | None = None) -> Split:
    """A split of image files.

    Args:
        files: for each class a list of paths.
        bad: `BadImages` to which broken files are added.
        broken: {path: reason} of files that are known to be broken. Defaults to `None`.
    """
    path_list = [path for paths in files for path in paths]
    label_array = np.repeat(np.arange(len(files), dtype="int32"), [len(paths) for paths in files])
    return path_split(path_list, label_array, bad, broken)


def path_split(path_list: Sequence[str], label_array: np.ndarray, bad: BadImages,
               broken: Mapping[str, str] | None = None) -> Split:
    """A split of image files in the given order; labels as in `Split`, other arguments as for `file_split`."""
    broken = broken or {}
    paths = Paths(path_list)
    count, path_of, labels = len(paths), paths.in_graph(), tf.constant(label_array)
    bad.total = count
    bad.reasons |= {path: broken[path] for path in path_list if path in broken} if broken else {}
    closed = broken_in_graph(paths, broken)
    del path_list

    def repair(index):
        """The first readable file at or after `index`: (content, its number, whether that is `index` itself)."""
        for step in range(count):
            i = (int(index) + step) % count
            if (path := paths[i]) in bad.reasons:
                continue
            try:
                return check_image(path), i, step == 0
            except ValueError as error:
                bad.add(path, str(error))
        bad.check()  # raises: no image is left

    def fetch(index):
        # A broken file is not opened, because it may be a pipe. No file has an empty path.
        content = read_or_empty(tf.where(closed(index), b"", path_of(index)) if broken else path_of(index))
        whole = has_end_markers(content)
        whole = tf.cond(whole & ~tf.io.is_jpeg(content), lambda: png_checksums_ok(content), lambda: whole)
        if bad.reasons:  # found before this pipeline was built
            whole &= ~broken_in_graph(paths, bad.reasons)(index)

        def repaired():
            new, number, same = tf.numpy_function(repair, [index], (tf.string, tf.int64, tf.bool), stateful=False)
            new, number, same = (tf.ensure_shape(t, ()) for t in (new, number, same))
            return new, tf.gather(labels, number), same

        return tf.cond(whole, lambda: (content, tf.gather(labels, index), True), repaired)

    return Split(num_examples=count, fetch=fetch, paths=paths, bad=bad, labels=label_array,
                 multi_label=np.ndim(label_array) == 2)


class Inspected(typing.NamedTuple):
    """An image file after `inspect_files`.

    `reason` is why it is broken, or `""`; `slow` if Pillow must decode it; `turned` if it has an EXIF orientation.
    """

    path: str
    reason: str
    slow: bool = False
    turned: bool = False


def inspect_files(split: Split) -> Iterator[Inspected]:
    """Decodes every encoded image of a split that has a list of broken ones."""
    content = split.content or (lambda i: read_regular_file(split.paths[i]))

    def inspect(number):
        path = split.paths[number]
        if path in split.bad.reasons:
            return Inspected(path, split.bad.reasons[path])
        try:
            file = content(number)
            return Inspected(path, "", checked_content(file)[1], orientation(file) != 1)
        except (ValueError, OSError) as error:
            return Inspected(path, getattr(error, "strerror", None) or str(error))

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(split.paths), CHUNK):
            yield from pool.map(inspect, range(start, min(start + CHUNK, len(split.paths))))


def find_broken(split: Split) -> Iterator[tuple[str, str]]:
    """Yields (path, reason) for every file of a split that cannot be decoded. Reads all files.

    `split.bad.add(path, reason)` excludes a file from pipelines built afterwards.
    """
    yield from ((file.path, file.reason) for file in inspect_files(split) if file.reason)
