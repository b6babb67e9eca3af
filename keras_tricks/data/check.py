"""Checks a data set before a run: its classes, the number of images, broken images, and files that are not read."""

import os
import sys
from collections.abc import Iterator

from keras_tricks.data.sources.image_folder import inspect_files
from keras_tricks.data.sources.open_source import open_source
from keras_tricks.data.sources.shard_check import find_damaged_shards, find_wrong_records
from keras_tricks.utils.text import printable

SHOWN = 100  # wrong records


def check(source: str, data_dir: str | os.PathLike | None = None) -> Iterator[str]:
    """Yields the report on a source, line by line. Raises `UserError` when the source cannot be opened."""
    opened = open_source(source, data_dir, max_bad_images=sys.maxsize)
    yield f"{opened.name}: {opened.num_classes} classes ({_abbreviate(opened.class_names)})"
    if source == "tfrecord":
        yield from _wrong_records(data_dir)
    for name, split in (("training", opened.train), ("validation", opened.validation)):
        yield f"{name:<12}{split.num_examples:>9,} images"
        if split.bad is not None and source != "tfrecord" and (split.content or not opened.description):
            yield from _broken(split)


def _broken(split):
    """Decodes every image file of a split, and reports what is broken, turned, slow, left out or not read."""
    broken, slow, turned = [], 0, 0
    for file in inspect_files(split):
        slow += file.slow
        turned += file.turned
        if file.reason:
            broken.append(file)
    yield f"{'broken':<12}{len(broken):>9,}"
    for file in broken:
        yield f"  {printable(file.path)}: {file.reason}"
    for what, count, why in split.left_out:
        yield f"{what:<12}{count:>9,} {why}"
    if turned:
        yield (f"{'turned':<12}{turned:>9,} images have an EXIF orientation, which is ignored unless data.exif=apply.")
    if slow:
        yield (f"{'slow':<12}{slow:>9,} images that are neither plain JPEG nor PNG: Pillow decodes them whenever they "
               "are read. `keras-tricks data pack` converts them once.")


def _wrong_records(data_dir):
    for path, why in find_damaged_shards(data_dir):
        yield f"damaged     {printable(path)}: {why}"
    wrong = 0
    for name, why in find_wrong_records(data_dir):
        wrong += 1
        if wrong <= SHOWN:
            yield f"wrong       {name}: {why}"
    if wrong > SHOWN:
        yield f"wrong       {wrong - SHOWN:,} more"


def _abbreviate(names, count=5):
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
