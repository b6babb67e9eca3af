"""Tar shards in the layout of the `webdataset` package, read by number.

    train-000000.tar    00000.jpg  00000.cls  00001.jpg  00001.cls  ...
    val-000000.tar

Consecutive members with the same name up to the first dot of the file name are one example: an image and its label,
as text in `.cls`, or in the object in `.json`. An image may also be an array in `.npy`, uint8 `(height, width,
channels)`. The members of all shards are listed once, which reads their headers and labels. Then an image is a position
in a shard.
"""

import functools
import glob
import hashlib
import json
import logging
import os
import pathlib
import re
import tarfile
import typing

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.channel_files import array_of_content
from keras_tricks.data.sources.file_access import retry
from keras_tricks.data.sources.folder_scan import SUFFIXES, LeftOut
from keras_tricks.data.sources.label_sets import number_label_sets, split_labels
from keras_tricks.data.sources.labels import known_class_names, number_labels
from keras_tricks.data.sources.layout import DEFAULT_TRAIN, TRAIN_NAMES, VALIDATION_NAMES
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.shard_index import Shard
from keras_tricks.data.sources.table import Table
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # the key of an example, and the rest of the name
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABEL_KEYS = ("label", "cls")  # of a JSON object
LABELS = ("cls", "json")
ARRAYS = frozenset([".npy"])
OPEN_SHARDS = 128  # at once

log = logging.getLogger("absl")


class Example(typing.NamedTuple):
    """An image in a shard: its name, the shard's number, the position and size of its content, its label
    as text, or its labels, and whether it is an array."""

    name: str
    shard: int
    offset: int
    size: int
    label: str | tuple
    is_array: bool = False


def webdataset(data_dir: str | os.PathLike | None, max_bad_images: int = 100, train_split: str = DEFAULT_TRAIN,
               validation_split: str | None = None, image_column: str | None = None, label_column: str | None = None,
               separator: str | None = None, channels: int = 3) -> Table:
    """Opens a folder of shards, a shard, or a pattern such as `"shards/train-{000000..000146}.tar"`.

    Args:
        data_dir: folder, file or pattern. Shards in sub-folders of a folder are read as well.
        max_bad_images: integer >= 0.
        train_split, validation_split: words in the name of a shard or of its folder, in any case. The defaults find
            those of `image_folder`. If no name has one, all shards are read, and every tenth image of a class is held
            out.
        image_column: extension of the image. Defaults to `None`: the first member that is an image, else `npy`; with
            other channels than 1 and 3 the reverse.
        label_column: extension of the label, or its key in the JSON object. Defaults to `None`: `cls`, or the keys
            `label` and `cls`.
        separator: text between the labels of an image with several, in `.cls`; JSON may also have a list. Defaults to
            `None`: one label an image.
        channels: integer, of the images. Other numbers than 1 and 3 need `.npy` or TIFF members, see `channel_files`.
            Defaults to `3`.

    Raises:
        UserError: no shards, a shard that is damaged or compressed, or no example with an image and a label.
    """
    if data_dir is None:
        raise UserError("The source webdataset needs shards: give --data-dir FOLDER (or data.data_dir).")
    root, shards = _find_shards(os.path.expanduser(data_dir))
    where, left_out = printable(data_dir), LeftOut()
    training, validation = _divide_shards(root, shards, train_split, validation_split)
    shards = training + validation
    colour = channels in (1, 3)
    wanted = (image_column, label_column, separator, (SUFFIXES, ARRAYS) if colour else (ARRAYS, SUFFIXES))
    examples = [example for number, path in enumerate(shards)
                for example in _list_examples(path, number, wanted, left_out)]
    for what, count, why in left_out.rows():
        log.info("%s: %d %s: %s", where, count, what, why)
    if not examples:
        wanted = f"an image and a label ({label_column or 'cls, or json with the key label'})"
        raise UserError(f"The shards of {where} have no example with {wanted}. Name other members with "
                        "data.image_column and data.label_column.")
    known = known_class_names(root)
    numbering = number_labels if separator is None else number_label_sets
    names, labels = numbering([e.label for e in examples], [e.name for e in examples], known, where)
    columns = {key: np.array([getattr(e, key) for e in examples], "int64") for key in ("shard", "offset", "size")}
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.name}\0{example.size}\0{example.label}\n".encode("utf-8", "surrogateescape"))

    @functools.lru_cache(OPEN_SHARDS)
    def opened(shard):
        return Shard(shards[shard])

    def content(number):
        shard, offset, size = (int(column[number]) for column in columns.values())
        try:
            return retry(opened(shard).read, offset, size)
        except OSError:
            opened.cache_clear()  # a stale handle stays stale
            raise

    encoded = colour and not any(example.is_array for example in examples)

    def make(numbers, chosen_labels):
        def read(i):
            return content(int(numbers[i])) if encoded else array_of_content(content(int(numbers[i])), channels)

        return read_split(read, [examples[i].name for i in numbers], BadImages(max_bad_images), chosen_labels, encoded,
                          digest.hexdigest(), channels=3 if colour else channels)

    in_validation = columns["shard"] >= len(training) if validation else None
    return Table(where, names, labels, in_validation, lambda i: examples[i].name, make, fixed=known is not None,
                 remedy="Name shards val-*.tar, or more images.")


# --- shards -----------------------------------------------------------------------------------------------------------


def _find_shards(pattern):
    """(the folder of the shards, their paths in order)."""
    path = pathlib.Path(pattern)
    if path.is_dir():
        found = sorted(path.glob("*.tar")) + sorted(path.glob("*/*.tar"))
        packed = [p.name for p in sorted(path.glob("*.tar.*")) + sorted(path.glob("*.tgz"))]
        if not found and packed:
            raise UserError(f"{printable(path)} has compressed shards, such as {packed[0]}: images in them have no "
                            "position. Unpack them to .tar.")
        if not found:
            raise UserError(f"{printable(path)} has no shard (*.tar).")
        return path, found
    names = [pattern]
    while match := BRACES.search(names[0]):
        first, last = match.groups()
        numbers = range(int(first), int(last) + 1)
        names = [name.replace(match[0], f"{number:0{len(first)}d}", 1) for name in names for number in numbers]
        if not names:
            raise UserError(f"The range {match[0]} in {printable(pattern)} is empty.")
    found = [p for name in names for p in ([name] if os.path.exists(name) else sorted(glob.glob(name)))]
    missing = next((name for name in names if not os.path.exists(name) and not glob.glob(name)), None)
    if missing is not None:
        raise UserError(f"The shard {printable(missing)} does not exist. Give --data-dir a folder of shards, a file or "
                        "a pattern such as shards/train-{000000..000146}.tar.")
    return pathlib.Path(found[0]).parent, [pathlib.Path(p) for p in found]


def _divide_shards(root, shards, train_split, validation_split):
    """The training shards and the validation shards, by the words in their names."""
    words = {path: set(re.findall(r"[a-z]+", os.path.relpath(path, root).lower())) for path in shards}

    def matching(split, usual):
        wanted = [split.lower()] if split else usual
        return next((own for name in wanted if (own := [p for p in shards if name in words[p]])), [])

    training = matching(None if train_split == DEFAULT_TRAIN else train_split, TRAIN_NAMES)
    validation = matching(validation_split, VALIDATION_NAMES)
    for key, split, own in (("train_split", train_split, training), ("validation_split", validation_split, validation)):
        if not own and split not in (None, DEFAULT_TRAIN):
            raise UserError(f"`data.{key}` is {split!r}, and no shard of {printable(root)} has this word in its name.")
    if not training and not validation:
        return shards, []
    others = [path.name for path in shards if path not in training and path not in validation]
    if others:
        log.info("%s: %d shards are not read: %s", printable(root), len(others), ", ".join(others[:5]))
    return training, validation


# --- members ----------------------------------------------------------------------------------------------------------


def _list_examples(path, number, wanted, left_out):
    """The `Example`s of a shard."""
    try:
        with tarfile.open(path, "r:") as shard:
            key, members = None, {}
            for member in shard:
                match = MEMBER.fullmatch(member.name)
                if not member.isreg() or match is None:
                    continue
                if match[1] != key:
                    yield from _example(path, number, key, members, wanted, left_out)
                    key, members = match[1], {}
                members[match[2].lower()] = member
            yield from _example(path, number, key, members, wanted, left_out)
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"The shard {printable(path)} cannot be read ({getattr(error, 'strerror', None) or error}). "
                        "Expected an uncompressed .tar; copy it again.") from None


def _example(path, number, key, members, wanted, left_out):
    image_column, label_column, separator, suffixes = wanted
    if key is None:
        return
    name = f"{path.name}/{key}"
    image = members.get(image_column.lower()) if image_column else next(
        (m for group in suffixes for extension, m in members.items()
         if f".{extension.rpartition('.')[2]}" in group), None)
    if image is None:
        left_out.add(name, "an example without an image")
        return
    label = _label(path, name, members, label_column, separator is not None)
    if separator is not None and isinstance(label, str) and label.strip():
        label = tuple(split_labels(label.strip(), separator))
    if label is None or label == "" or (isinstance(label, str) and not label.strip()):
        left_out.add(name, "an example without a label")
    else:
        yield Example(name, number, image.offset_data, image.size, label.strip() if separator is None else label,
                      image.name.lower().endswith(tuple(ARRAYS)))


def _label(path, name, members, label_column, several):
    """The label of an example as text, a tuple of texts for a list of `several`, or `None`."""
    extensions = [label_column.lower()] if label_column and label_column.lower() in members else LABELS
    member = next((members[extension] for extension in extensions if extension in members), None)
    if member is None:
        return None
    with open(path, "rb") as file:
        file.seek(member.offset_data)
        content = file.read(member.size)
    try:
        if not member.name.lower().endswith("json"):
            return content.decode()
        values = json.loads(content)
        keys = [label_column] if label_column and label_column.lower() not in members else LABEL_KEYS
        value = next((values[key] for key in keys if key in values), None)
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{printable(path)}: the label of {printable(name)} cannot be read ({error}).") from None
    if several and isinstance(value, list) and not any(_is_wrong(one) or one is None for one in value):
        return tuple(map(str, value))
    if _is_wrong(value):
        hint = " Several labels an image: --set data.multi_label=true." if isinstance(value, list) else ""
        raise UserError(f"{printable(path)}: the label of {printable(name)} must be a name or a number. Received: "
                        f"{value!r:.100}.{hint}")
    return None if value is None else str(value)


def _is_wrong(value):
    return isinstance(value, bool) or not isinstance(value, int | str | None)
