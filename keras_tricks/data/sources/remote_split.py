"""A training split that another process can read: its `fetch` is a pure graph, without Python functions.

The sources call Python functions for broken files and for records of shards, and these cannot leave their process.
Here TensorFlow operations read the same bytes. An example that looks broken is not repaired: `intact` is false, a black
pixel replaces the image, and the trainer reads the example again with the `fetch` of the source.

Workers read the files themselves, at the same paths as the trainer: from a shared disk, or from copies.
"""

import logging
import math
import os
import pathlib
import re
import typing
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.file_list import entry_reader, read_range, write_file_list
from keras_tricks.data.sources.folder_scan import JPEG_SUFFIXES
from keras_tricks.data.sources.image_files import has_end_markers, read_or_empty, value_or_empty
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.names import Paths, broken_in_graph
from keras_tricks.data.sources.shard_index import (
    HEADER,
    column_places,
    read_description,
    read_index,
    record_starts,
    shard_paths,
)
from keras_tricks.data.sources.source import Source, Split
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

MAX_CONSTANT = 2**22  # bytes of an index that a graph holds; a larger one is read from its file, 0.1 ms for a number
MAX_GRAPH = 1.9e9  # bytes; protobuf allows 2 GiB
COMPARED_FILES = 8  # other files that a worker tries to read when it cannot read one

log = logging.getLogger("absl")


def remote_split(data: typing.Any, source: Source) -> Split:
    """The training split of a source, in a form that another process can read.

    Args:
        data: the section of a `Recipe` that the source was opened with.
        source: `Source`, already limited to `data.train_images` and without the examples of `data.minival`.

    Raises:
        UserError: the source is a stream (TFDS) or read by Python functions, EXIF orientations are applied, or the
            images are neither in colour nor grey.
    """
    if data.exif == "apply":
        raise UserError("`data.exif=apply` turns images in this process, and `data.service` prepares them in others: "
                        "leave out one of them.")
    if data.channels not in (1, 3):
        raise UserError(f"`data.channels` is {data.channels}, and the workers of `data.service` decode images in "
                        "colour or grey: leave out one of them.")
    if data.source == "digits":
        return source.train
    if data.source in ("image_folder", "csv"):
        paths = source.train.paths
        others = sum(not path.lower().endswith(JPEG_SUFFIXES) for path in paths)
        if others:
            log.warning("%d of %d training files are not JPEG files: the trainer makes their batches. To let the "
                        "workers make all batches, pack the data: keras-tricks data pack.", others, len(paths))
        folder = pathlib.Path(data.data_dir).expanduser()
        return remote_file_split(paths, source.train.labels, source.train.bad.reasons,
                                 folder if folder.is_dir() else folder.parent)
    if data.source == "tfrecord":
        packed = remote_record_split(pathlib.Path(data.data_dir).expanduser(), "train")
        if data.minival:
            packed = packed.pick(split_off(np.arange(packed.num_examples), data.minival)[0])
        return packed if data.train_images is None else packed.take(data.train_images)
    why = "is a stream" if data.source.startswith("tfds:") else "is read by functions of this process"
    raise UserError(f"`data.service` needs examples that other processes read by index, and {data.source} {why}. Pack "
                    f"it: keras-tricks data pack {data.source} --output FOLDER, then --set data.source=tfrecord "
                    "--data-dir FOLDER.")


def remote_file_split(path_list: Sequence[str], labels: Sequence[int], broken: Collection = (),
                      folder: pathlib.Path | None = None) -> Split:
    """A split of image files. Only a JPEG counts as intact, because the checksums of a PNG are checked in Python.

    A file that cannot be read is not intact either, unless none of several others can be read: then the data are not
    on this machine, which is an error.

    Args:
        path_list: list of paths.
        labels: as in `Split`.
        broken: paths known to be broken.
        folder: folder in which a long list of paths is written, so that the graph need not hold them. Defaults to
            `None`: the graph holds them.
    """
    names = path_list if isinstance(path_list, Paths) else Paths(path_list)
    labels = np.asarray(labels, "uint8" if np.ndim(labels) == 2 else "int32")
    entry, is_broken = _entries(names, labels, folder), broken_in_graph(names, broken)
    readable = [path for path in path_list if path not in broken] if broken else path_list
    others = readable[:: -(-len(readable) // COMPARED_FILES)] if readable else ()

    def read(path):
        content = read_or_empty(path)
        return tf.cond(tf.strings.length(content) > 0, lambda: content, lambda: read_or_fail(path))

    def read_or_fail(path):
        """An empty file, if there are others; else the error."""
        found = [tf.strings.length(read_or_empty(tf.constant(os.fsencode(other)))) > 0 for other in others]
        return tf.cond(tf.reduce_any(found), lambda: tf.constant(b""), lambda: tf.io.read_file(path))

    def fetch(index):
        path, label = entry(index)
        path = tf.where(is_broken(index), b"", path) if broken else path  # it may be a pipe
        content = read(path)
        intact = has_end_markers(content) & tf.io.is_jpeg(content)
        if broken:
            intact &= ~is_broken(index)
        return tf.cond(intact, lambda: content, _black_pixel), label, intact

    return Split(num_examples=len(path_list), fetch=fetch, multi_label=labels.ndim == 2)


def _entries(names, labels, folder):
    """A graph function of an index that returns (path, label), from constants or from a file in the folder."""
    size = len(names.text) + names.ends.nbytes + names.folder_of.nbytes + labels.nbytes
    if folder is not None and size > MAX_CONSTANT:
        try:
            return entry_reader(write_file_list(folder, names, labels), len(names), labels)
        except OSError as error:
            log.warning("%s cannot be written (%s), so every worker receives the names of all files, %.0f MB. Let the "
                        "trainer write there, or pack the data: keras-tricks data pack.", printable(folder),
                        error.strerror, size / 1e6)
    if size > MAX_GRAPH:
        raise UserError(f"The names of {len(names):,} files have {size / 1e9:.1f} GB, and TensorFlow sends at most 2 "
                        "GB to a worker: let the trainer write into the folder of the data, or pack the data: "
                        "keras-tricks data pack.")
    path_of, label_constant = names.in_graph(), tf.constant(labels)
    return lambda index: (path_of(index), tf.gather(label_constant, index))


def remote_record_split(root: pathlib.Path, name: str) -> Split:
    """The split `name` of a folder written by `tfrecord.pack`. TensorFlow verifies the checksum of each record."""
    description = read_description(root)
    index, files = read_index(root, description, name), shard_paths(root, description, name)
    starts = record_starts(files, index)
    paths = tf.constant([os.fsencode(file) for file in files])
    index = {column: index[column] for column in ("shard", "offset", "length", "label")} | {"start": starts}
    number_at = _reader(root / f"{name}.index.npz", index)
    patterns = tf.constant([re.sub(rb"([*?\[\]\\])", rb"\\\1", os.fsencode(file)) for file in files])

    def empty_if_exists(shard):
        """An empty record; the error of a missing file if the shard is not on this machine."""
        found = tf.size(tf.io.matching_files(tf.gather(patterns, shard))) > 0
        return tf.cond(found, lambda: tf.constant(b""), lambda: tf.io.read_file(tf.gather(paths, shard)))

    def fetch(position):
        example = {column: number_at(column, position) for column in index}
        before = example["offset"] - example["start"] - HEADER
        record = value_or_empty(_record_at, tf.gather(paths, example["shard"]), example["start"],
                                before + example["length"] + 256)
        record = tf.cond(tf.strings.length(record) > 0, lambda: record, lambda: empty_if_exists(example["shard"]))
        cut = lambda: tf.strings.substr(record, before, example["length"])  # noqa: E731
        intact = tf.strings.length(record) > 0
        return tf.cond(intact, cut, _black_pixel), example["label"], intact

    return Split(num_examples=len(starts), fetch=fetch, multi_label=index["label"].ndim == 2)


def _reader(path, index):
    """A graph function of (name of a column, position) that returns what it has there, from constants or the file."""
    places = column_places(path)
    if sum(values.nbytes for values in index.values()) <= MAX_CONSTANT or not index.keys() <= places.keys():
        columns = {column: tf.constant(values) for column, values in index.items()}
        return lambda column, position: tf.gather(columns[column], position)
    size = path.stat().st_size

    def number_at(column, position):
        first, dtype, shape = places[column]
        length = dtype.itemsize * math.prod(shape)
        start = first + tf.cast(position, tf.int64) * length
        return tf.reshape(tf.io.decode_raw(read_range(path, size, start, length), dtype.name), shape)

    return number_at


def _record_at(path, start, buffer_size):
    read = tf.raw_ops.TFRecordDatasetV2(filenames=path[None], compression_type="", buffer_size=buffer_size,
                                        byte_offsets=start[None])
    return tf.data.experimental.from_variant(read, tf.TensorSpec((), tf.string)).take(1).get_single_element()


def _black_pixel():
    return tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8))
