"""A list of files and labels on disk, from which a graph reads one entry at a time.

A graph that holds the names of a million files has 34 MB, and no graph may exceed 2 GB. The list is written once, into
the folder of the data, because the machines that read the images read it too. Its name has the sha256 of its content.

    rows     for each file: start and length of its path among the paths (int64, int32), then its label (int32) or its
             labels (uint8 for each class)
    paths    one after the other
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.utils.atomic_files import atomic_write

CHUNK = 100_000  # files whose names are encoded at once
PLACE = 12  # bytes of the start and the length


def write_file_list(folder: str | os.PathLike, paths: Sequence[str], labels: np.ndarray) -> pathlib.Path:
    """Writes `.files-<sha256>.keras_tricks` into a folder, unless it is there. Returns its path.

    Args:
        folder: folder of the data.
        paths: n paths.
        labels: int32 `(n,)` or uint8 `(n, classes)`.

    Raises:
        OSError, UserError: the file cannot be written.
    """
    labels = np.ascontiguousarray(labels, "uint8" if np.ndim(labels) == 2 else "<i4")
    rows = np.zeros(len(paths), [("start", "<i8"), ("length", "<i4"), ("label", labels.dtype, labels.shape[1:])])
    digest, start = hashlib.sha256(), 0
    for first in range(0, len(paths), CHUNK):
        names = [os.fsencode(path) for path in paths[first : first + CHUNK]]
        lengths = np.array([len(name) for name in names], "int64")
        part = rows[first : first + CHUNK]
        part["length"], part["start"] = lengths, start + np.cumsum(lengths) - lengths
        part["label"] = labels[first : first + CHUNK]
        start += int(lengths.sum())
        digest.update(part.tobytes())
        digest.update(b"".join(names))
    target = pathlib.Path(folder).absolute() / f".files-{digest.hexdigest()[:32]}.keras_tricks"
    if target.is_file() and target.stat().st_size == rows.nbytes + start:
        return target
    with atomic_write(target) as partial, open(partial, "wb") as file:
        file.write(rows.tobytes())
        for first in range(0, len(paths), CHUNK):
            file.write(b"".join(os.fsencode(path) for path in paths[first : first + CHUNK]))
    return target


def entry_reader(path: pathlib.Path, count: int, labels: np.ndarray) -> Callable:
    """A graph function of an index that returns (path, label), a string scalar and int32 scalar or uint8 `(classes,)`.

    Args:
        path: file that `write_file_list` wrote.
        count: integer, its number of files.
        labels: as for `write_file_list`; only their shape matters.
    """
    several = np.ndim(labels) == 2
    row, label_type = PLACE + (labels.shape[1] if several else 4), tf.uint8 if several else tf.int32
    size, texts = path.stat().st_size, count * row

    def entry(index):
        numbers = read_range(path, size, tf.cast(index, tf.int64) * row, row)
        start, length, label = (tf.io.decode_raw(tf.strings.substr(numbers, first, count), kind) for first, count, kind
                                in ((0, 8, tf.int64), (8, 4, tf.int32), (PLACE, row - PLACE, label_type)))
        name = read_range(path, size, texts + start[0], tf.cast(length[0], tf.int64))
        return name, tf.ensure_shape(label, labels.shape[1:]) if several else label[0]

    return entry


def read_range(path: pathlib.Path, size: int, start: tf.Tensor, length: tf.Tensor | int) -> tf.Tensor:
    """`length` bytes from `start` of a file of `size` bytes, a string scalar, in the graph. Takes 0.1 ms."""
    length = tf.cast(length, tf.int64)
    read = tf.raw_ops.FixedLengthRecordDatasetV2(
        filenames=[os.fsencode(path.absolute())], header_bytes=start, record_bytes=length,
        footer_bytes=size - start - length, buffer_size=tf.constant(512, tf.int64), compression_type="")
    return tf.data.experimental.from_variant(read, tf.TensorSpec((), tf.string)).get_single_element()
