"""Checks a data set before a run: classes, number of images, broken and repeated images, files that are not read."""

import os
import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_tricks.data.duplicates import Example, find_duplicates, read_all
from keras_tricks.data.sources.image_folder import Inspected, inspect_files
from keras_tricks.data.sources.open_source import open_source
from keras_tricks.data.sources.shard_check import find_damaged_shards, find_wrong_records
from keras_tricks.data.sources.source import Source
from keras_tricks.utils.class_names import look_alikes
from keras_tricks.utils.text import printable

SHOWN = 100  # wrong records, groups of the same picture, and classes
SPLITS = ("training", "validation")


def check(source: str, data_dir: str | os.PathLike | None = None, opened: Source | None = None,
          duplicates: bool = False) -> Iterator[str]:
    """Yields the report on a source, line by line.

    Args:
        source: name of the source, as for `open_source`.
        data_dir: its folder or file.
        opened: the source, if it was opened with further arguments. Defaults to `None`: it is opened here.
        duplicates: bool, whether to look for images that the source has twice. Defaults to `False`.

    Raises:
        UserError: the source cannot be opened.
    """
    opened = opened or open_source(source, data_dir, max_bad_images=sys.maxsize)
    yield f"{opened.name}: {opened.num_classes} classes ({_abbreviate(opened.class_names)})"
    yield from (f"alike       {names}: if they are one class, give them one name"
                for names in look_alikes(opened.class_names))
    if source == "tfrecord":
        yield from _wrong_records(data_dir)
    for name, split in zip(SPLITS, (opened.train, opened.validation), strict=True):
        yield f"{name:<12}{split.num_examples:>9,} images"
        if split.bad is not None and source != "tfrecord" and (
                split.decoded or split.content or not opened.description):
            yield from _broken(split)
    if opened.multi_label:
        yield from _label_counts(opened)
    if duplicates:
        yield from _duplicates(opened)


def _label_counts(source):
    """Labels an image, and for each class the images that have it, in both splits."""
    tables = [split.labels if split.labels is not None else np.stack([label for _, _, label, _ in read_all(split)])
              for split in (source.train, source.validation)]
    for name, table in zip(SPLITS, tables, strict=True):
        own = table.sum(axis=1, dtype="int64")
        yield (f"{'labels':<12}{own.mean():>9.2f} an image in {name}, from {own.min()} to {own.max()}; "
               f"{np.count_nonzero(own == 0):,} images have none")
    counts = [table.sum(axis=0, dtype="int64") for table in tables]
    for name, *own in list(zip(source.class_names, *counts, strict=True))[:SHOWN]:
        shares = (f"{count:,} {split} images ({100 * count / len(table):.1f} %)"
                  for count, split, table in zip(own, SPLITS, tables, strict=True))
        yield f"  {printable(name)}: {', '.join(shares)}"
    if source.num_classes > SHOWN:
        yield f"  and {source.num_classes - SHOWN:,} more"


def _duplicates(source):
    """Counts of images that repeat another one, and the groups: leaks first, then groups with several labels."""
    groups = find_duplicates(source)
    further = {copies: sum(len(g.examples) - 1 for g in groups if g.copies == copies) for copies in (True, False)}
    leaks, mixed = (sum(getattr(g, name) for g in groups) for name in ("is_leak", "labels_differ"))
    yield f"{'copies':<12}{further[True]:>9,} images have the same pixels as an earlier one"
    yield f"{'alike':<12}{further[False]:>9,} images look like an earlier one: compressed again, resized, brighter"
    yield f"{'leaks':<12}{leaks:>9,} pictures are in training and in validation"
    yield f"{'labels':<12}{mixed:>9,} pictures are there with different labels"
    groups.sort(key=lambda group: (not group.is_leak, not group.labels_differ))
    for group in groups[:SHOWN]:
        kinds = ["copies" if group.copies else "alike", *(["leak"] if group.is_leak else []),
                 *(["labels differ"] if group.labels_differ else [])]
        yield f"  {', '.join(kinds)}: {' = '.join(_shown(e, source.class_names) for e in group.examples)}"
    if len(groups) > SHOWN:
        yield f"  and {len(groups) - SHOWN:,} more"


def _shown(example: Example, names):
    labels = " and ".join(printable(names[label]) for label in example.labels) or "no label"
    return f"{printable(example.name)} ({example.split}, {labels})"


def _broken(split):
    """Decodes every image of a split, and reports what is broken, turned, slow, left out or not read."""
    broken, slow, turned = [], 0, 0
    for file in _inspect_arrays(split) if split.decoded else inspect_files(split):
        slow += file.slow
        turned += file.turned
        if file.reason:
            broken.append(file)
    yield f"{'broken':<12}{len(broken):>9,}"
    for file in broken:
        split.bad.reasons.setdefault(file.path, file.reason)  # they are not read again
        yield f"  {printable(file.path)}: {file.reason}"
    for what, count, why in split.left_out:
        yield f"{what:<12}{count:>9,} {why}"
    if turned:
        yield (f"{'turned':<12}{turned:>9,} images have an EXIF orientation, which is ignored unless data.exif=apply.")
    if slow:
        yield (f"{'slow':<12}{slow:>9,} images that are neither plain JPEG nor PNG: Pillow decodes them whenever they "
               "are read. `keras-tricks data pack` converts them once.")


def _inspect_arrays(split):
    """The broken examples of a split whose `fetch` gives pixels, as `Inspected`."""
    try:
        for _ in read_all(split):
            pass
    except tf.errors.OpError:
        if len(split.bad.reasons) < split.num_examples:
            raise
    return [Inspected(path, reason) for path, reason in split.bad.reasons.items()]


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
