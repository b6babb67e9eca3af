"""Finds the training and validation folders of a data folder, as archives and exporters name them."""

import contextlib
import logging
import os
import pathlib
import re

from keras_tricks.data.sources.file_access import sub_folders
from keras_tricks.data.sources.folder_scan import Listing, scan_classes
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.text import printable

TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation", "dev", "test", "testing")
DEFAULT_TRAIN = "train"
LOOKS_LIKE_A_SPLIT = re.compile(rf"({'|'.join(TRAIN_NAMES + VALIDATION_NAMES)})(s|[^a-z].*)?", re.IGNORECASE)
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")

log = logging.getLogger("absl")


def open_root(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """The data folder. Raises `UserError` if none is given or it does not exist."""
    if data_dir is None:
        raise UserError("The source image_folder needs a folder: give --data-dir FOLDER (or data.data_dir).")
    root = pathlib.Path(data_dir).expanduser()
    if root.is_file():
        what = "an archive: unpack it, and give" if root.name.lower().endswith(ARCHIVES) else "a file: give"
        raise UserError(f"The data folder {printable(root)} is {what} --data-dir a folder with one sub-folder a class.")
    if not root.is_dir():
        raise UserError(f"The data folder {printable(root)} does not exist. Give --data-dir a folder with one "
                        "sub-folder a class.")
    return root


def find_splits(root: pathlib.Path, train_split: str = DEFAULT_TRAIN, validation_split: str | None = None
                ) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The folders to train on and those to validate on, each with the preferred one first.

    Names are matched in any case. `"train"` stands for `TRAIN_NAMES`, and `None` for `VALIDATION_NAMES`.

    Raises:
        UserError: a folder that was asked for by name does not exist, or two folders differ in case only.
    """
    folders = sub_folders(root)
    names = [entry.name for entry in folders]
    usual = [entry for entry in folders if entry.name.lower() in TRAIN_NAMES + VALIDATION_NAMES]
    if len(usual) == 1 and len(folders) > 2 and not sub_folders(usual[0].path):
        names.remove(usual[0].name)  # a class of that name among other classes, such as CIFAR-100's "train"
    train = _match(root, names, TRAIN_NAMES if train_split == DEFAULT_TRAIN else [train_split])
    validation = _match(root, names, [validation_split] if validation_split else VALIDATION_NAMES)
    for key, name, found in (("train_split", train_split, train), ("validation_split", validation_split, validation)):
        if name not in (None, DEFAULT_TRAIN) and not found:
            raise UserError(f"`data.{key}` is {name!r}, and {printable(root)} has no such folder. It has "
                            f"{list_folders(names)}.{nearest(name, names)}")
    return train, validation


def _match(root, names, wanted):
    """The folders with one of the wanted names, in their order. The exact name comes before others in case."""
    matches = []
    for name in wanted:
        alike = [own for own in names if own.lower() == name.lower()]
        if len(alike) > 1 and name not in alike:
            raise UserError(f"{printable(root)} has {list_folders(alike)}, which differ in case only: rename one of "
                            "them.")
        matches += [name] if name in alike else alike
    return [root / name for name in dict.fromkeys(matches)]


def list_folders(names: list[str], count: int = 5) -> str:
    """`"a/, b/"`, with at most `count` names."""
    return ", ".join(f"{printable(name)}/" for name in names[:count]) + (", ..." if len(names) > count else "")


def check_flat(root: pathlib.Path) -> None:
    """Raises `UserError` if the sub-folders of a folder without a training folder look like splits, not classes."""
    folders = sub_folders(root)
    usual = [entry for entry in folders if entry.name.lower() in VALIDATION_NAMES]
    alike = [entry for entry in folders if LOOKS_LIKE_A_SPLIT.fullmatch(entry.name) and sub_folders(entry.path)]
    found = [entry.name for entry in (usual if usual and len(usual) == len(folders) else alike)]
    if found:
        raise UserError(f"{printable(root)} has {list_folders(found)} but no {DEFAULT_TRAIN}/ to train on. Name the "
                        "folders with --set data.train_split=NAME --set data.validation_split=NAME.")


def beside_training(root: pathlib.Path) -> str:
    """A hint if `root` is a training folder with a validation folder beside it, else `""`."""
    root, found = root.resolve(), []
    if root.name.lower() in TRAIN_NAMES:
        with contextlib.suppress(UserError):  # a parent that cannot be listed
            found = [e.name for e in sub_folders(root.parent) if e.name.lower() in VALIDATION_NAMES]
    hint = f" To validate on {list_folders(found)} beside it, give --data-dir {printable(root.parent)}."
    return hint if found else ""


def scan_and_log(root: pathlib.Path) -> Listing:
    """`scan_classes`, and logs what is left out."""
    listing = scan_classes(root)
    for what, count, why in listing.left_out.rows():
        log.info("%s: %d %s: %s", printable(root), count, what, why)
    nested, inner = _nested(listing)
    if nested:
        log.info("%s: %d images are in sub-folders of class folders, such as %s", printable(root), nested,
                 list_folders(inner))
    return listing


def check_not_a_wrapper(listing: Listing) -> None:
    """Raises `UserError` if the only class folder has nothing but sub-folders, which may be the classes or splits."""
    nested, inner = _nested(listing)
    if len(listing.classes) == 1 and nested == len(listing.files[0]) and len(inner) > 1:
        folder = listing.root / listing.classes[0]
        raise UserError(f"{printable(listing.root)} has one class folder, {listing.classes[0]}/, with the sub-folders "
                        f"{list_folders(inner)}. If these are the classes or splits, give --data-dir "
                        f"{printable(folder)}.")


def _nested(listing):
    """The number of images in sub-folders of class folders, and the names of these sub-folders."""
    count, names = 0, set()
    for name, paths in zip(listing.classes, listing.files, strict=True):
        skip = len(os.path.join(listing.root, name, ""))
        for path in paths:
            first, separator, _ = path[skip:].partition(os.sep)
            if separator:
                count += 1
                names.add(first)
    return count, sorted(names)
