"""Checks packed data: the sha256 of each shard, and each record against the index."""

import os
import pathlib
import zlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.shard_index import (
    HEADER,
    SPLITS,
    Shard,
    file_sha256,
    read_description,
    read_index,
    record_starts,
    scan_records,
    shard_paths,
)


def find_damaged_shards(root: str | os.PathLike) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields (file, reason) for each shard whose sha256 differs from that in `dataset.json`."""
    root = pathlib.Path(root).expanduser()
    for part in read_description(root)["splits"].values():
        for shard in part["shards"]:
            path = root / shard["file"]
            try:
                if file_sha256(path) != shard["sha256"]:
                    yield path, "its sha256 is not that of dataset.json"
            except OSError as error:
                yield path, error.strerror or str(error)


def find_wrong_records(root: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yields (name of an example, reason) where a record differs from the index: place, checksum or label.

    Reads all records. Records that no example of the index refers to are reported at the end of their split.
    """
    root = pathlib.Path(root).expanduser()
    description = read_description(root)
    for split in SPLITS:
        paths, index = shard_paths(root, description, split), read_index(root, description, split)
        starts, shard, opened = record_starts(paths, index), None, -1
        for number in np.lexsort((starts, index["shard"])):
            example = {column: int(values[number]) for column, values in index.items() if column != "label"}
            example["label"] = _numbers(index["label"][number])
            if example["shard"] != opened:
                opened = example["shard"]
                shard, lengths = Shard(paths[opened]), dict(scan_records(paths[opened]))
            if reason := _fault(shard, int(starts[number]), lengths, example):
                yield f"{paths[opened].name}, example {number}", reason
        records = sum(1 for path in paths for _ in scan_records(path))
        used = len(set(zip(index["shard"].tolist(), starts.tolist(), strict=True)))
        if records != len(starts) or used != len(starts):
            yield split, (f"the shards have {records:,} records, and the index {len(starts):,} examples of {used:,} "
                          "records")


def _fault(shard, start, lengths, example):
    """How a record differs from the index, or `""`."""
    if start not in lengths:
        return "no record starts where the index says"
    try:
        features = tf.train.Example.FromString(shard.read(start + HEADER, lengths[start])).features.feature
        (image,), label = features["image/encoded"].bytes_list.value, features["image/class/label"].int64_list.value
    except Exception as error:  # of protobuf, whose classes depend on its implementation
        return f"its record cannot be read ({type(error).__name__})"
    if shard.read(example["offset"], example["length"]) != image:
        return "its image is not where the index says"
    if zlib.crc32(image) != example["crc32"]:
        return "its checksum is wrong"
    if list(label) == example["label"]:
        return ""
    return f"its label is {_shown(label)} in the shard and {_shown(example['label'])} in the index"


def _numbers(label):
    """The numbers of the classes of a label, a list, as a record has them."""
    return np.flatnonzero(label).tolist() if np.ndim(label) else [int(label)]


def _shown(numbers):
    return ", ".join(map(str, numbers)) or "none"
