"""Checks a data set before a run: classes, number of images, broken and repeated images, files that are not read."""

import os
import sys
from collections.abc import Iterator

from keras_tricks.data.duplicates import Example, find_duplicates
from keras_tricks.data.sources.image_folder import inspect_files
from keras_tricks.data.sources.open_source import open_source
from keras_tricks.data.sources.shard_check import find_damaged_shards, find_wrong_records
from keras_tricks.data.sources.source import Source
from keras_tricks.utils.text import printable

SHOWN = 100  # wrong records, and groups of the same picture


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
    if source == "tfrecord":
        yield from _wrong_records(data_dir)
    for name, split in (("training", opened.train), ("validation", opened.validation)):
        yield f"{name:<12}{split.num_examples:>9,} images"
        if split.bad is not None and source != "tfrecord" and (split.content or not opened.description):
            yield from _broken(split)
    if duplicates:
        yield from _duplicates(opened)


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
    """Decodes every image file of a split, and reports what is broken, turned, slow, left out or not read."""
    broken, slow, turned = [], 0, 0
    for file in inspect_files(split):
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
