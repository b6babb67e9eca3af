"""Looks at a data set before a run: what was found, what is missing, which images are broken, what to do next."""

import collections
import os
import pathlib

from keras_tricks.data.image_folder import SUFFIXES, find_broken
from keras_tricks.data.open_source import open_source
from keras_tricks.data.tfrecord import damaged


def check(source, data_dir=None):
    """Yields lines of text about a source. Raises `UserError` when it cannot be opened at all."""
    opened = open_source(source, data_dir)
    yield f"{opened.name}: {opened.num_classes} classes ({_few(opened.class_names)})"
    if source == "tfrecord":
        for path, why in damaged(data_dir):
            yield f"damaged     {path}: {why}"
    for name, split in (("training", opened.train), ("validation", opened.validation)):
        yield f"{name:<12}{split.num_examples:>9,} images"
        if split.bad is not None and source != "tfrecord":
            yield from _broken(split)


def _broken(split):
    broken = list(find_broken(split))
    yield f"{'broken':<12}{len(broken):>9,}"
    for path, why in broken:
        yield f"  {path}: {why}"
    others = _other_files({os.path.dirname(path) for path in split.paths})
    if others:
        endings = ", ".join(f"{count:,} {ending}" for ending, count in others.most_common(5))
        yield f"{'not read':<12}{others.total():>9,} files, not named {' '.join(SUFFIXES)}: {endings}"


def _few(names, count=5):
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _other_files(folders):
    """How many files of each ending lie beside the images and are not read as such."""
    names = [entry.name for folder in folders for entry in os.scandir(folder)
             if entry.is_file() and not entry.name.startswith(".")]
    endings = (pathlib.PurePath(name).suffix.lower() for name in names)
    return collections.Counter(ending or "without ending" for ending in endings if ending not in SUFFIXES)
