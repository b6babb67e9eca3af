"""Packed data: TFRecord shards that are read by example, in any order, with a checksum each.

    <folder>/dataset.json                    classes; for each split its shards with their sha256, number of examples
    <folder>/<split>-00000-of-00008.tfrecord tf.train.Example: image/encoded (bytes), image/class/label (int64)
    <folder>/<split>.index.npz               for each example: shard, start of its record, offset and length of its
                                             image, label, crc32

A few large files read faster than many small ones, from disks and over networks. The shards are ordinary TFRecord
files; the index lets the pipeline take example 123,456 as it would take a file, so that order and pixels are those of
the unpacked data.
"""

import functools
import json
import logging
import mmap
import os
import pathlib
import shutil
import struct
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.image_folder import BadImages, decoding_fault
from keras_tricks.data.minival import split_off
from keras_tricks.data.source import Source, Split
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")

VERSION = 1
COLUMNS = {"shard": "int32", "start": "int64", "offset": "int64", "length": "int64", "label": "int32",
           "crc32": "uint32"}
HEADER, FOOTER = 12, 4  # bytes before a record (its length and a checksum) and after it (a checksum)
SPLITS = ("train", "validation")


def tfrecord(data_dir, max_bad_images=100, minival=0.0):
    """Opens a folder written by `pack`; `minival` as for `open_source`.

    Raises:
        UserError: no such folder, a file of it missing or cut short, an index of another version.
    """
    if data_dir is None:
        raise UserError("The source tfrecord needs the folder written by `keras-tricks data pack`: give --data-dir.")
    root = pathlib.Path(data_dir).expanduser()
    description = _description(root)
    splits = [_split(root, name, description["splits"][name]) for name in SPLITS]
    if minival:
        shards, index = splits[0]
        splits = [(shards, {column: values[part] for column, values in index.items()})
                  for part in split_off(index["number"], minival)]
    return Source(description["name"], tuple(description["class_names"]),
                  *(_indexed(*split, BadImages(max_bad_images)) for split in splits))


def read_index(root, name, description):
    """The columns of a split's index, a dict of arrays.

    Raises:
        UserError: it cannot be read, or is not the index these shards were packed with.
    """
    path = root / f"{name}.index.npz"
    expected = description.get("index_sha256")
    try:
        if expected is not None and _sha256(path) != expected:
            raise UserError(f"{path} does not fit its shards: copy or pack the data again.")
        with np.load(path, allow_pickle=False) as file:
            return {column: file[column] for column in COLUMNS if column in file or column != "start"}
    except (OSError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read ({error}): copy the packed data again.") from None


def record_starts(shards, index):
    """Where each record begins in its shard, int64 `(n,)`, in the order of writing.

    Folders packed by keras_tricks 0.1.0 do not store it: there the lengths in front of the records are read.

    Args:
        shards: paths.
        index: dict of the columns of the index; `start` may be missing.
    """
    if "start" in index:
        return index["start"]
    starts = [start for shard in shards for start in _scan_records(shard)]
    return np.array(starts, np.int64)


def _scan_records(shard):
    with open(shard, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        position = 0
        while position < len(content):
            yield position
            (length,) = struct.unpack("<Q", content[position : position + 8])
            position += HEADER + length + FOOTER


def _description(root):
    path = root / "dataset.json"
    try:
        description = json.loads(path.read_text())
        version = description["version"]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). `keras-tricks data pack` writes it.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the description of a packed data set: {error}.") from None
    if version != VERSION:
        raise UserError(f"{path} has version {version}; this keras_tricks reads {VERSION}. Pack the data again.")
    return description


def _split(root, name, description):
    """The paths of the shards of a split, and where its examples are in them."""
    shards = [root / shard["file"] for shard in description["shards"]]
    for shard, path in zip(description["shards"], shards, strict=True):
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes instead of {shard['bytes']:,}"
            raise UserError(f"{path} {found}: copy the packed data again.")
    index = read_index(root, name, description)
    return shards, {"number": np.arange(len(index["label"])), **index}


def _indexed(shards, index, bad):
    """A `Split` over examples found by an index. One whose checksum is wrong is named, and the next one taken."""
    bad.total = count = len(index["label"])
    names = tuple(f"{shards[s].name}, example {n}" for s, n in zip(index["shard"], index["number"], strict=True))

    @functools.cache
    def opened(shard):
        with open(shards[shard], "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(position):
        for step in range(count):
            i = (int(position) + step) % count
            start = int(index["offset"][i])
            content = opened(int(index["shard"][i]))[start : start + int(index["length"][i])]
            if zlib.crc32(content) == index["crc32"][i]:
                return content, np.int32(index["label"][i]), step == 0
            bad.add(names[i], "its checksum is wrong")
        raise AssertionError("unreachable: `bad.add` raises at the last example")

    def fetch(position):
        content, label, same = tf.numpy_function(read, [position], (tf.string, tf.int32, tf.bool), stateful=False)
        return tuple(tf.ensure_shape(t, ()) for t in (content, label, same))

    return Split(num_examples=count, fetch=fetch, paths=names, bad=bad)


def damaged(root):
    """(file, reason) for each shard whose sha256 is not that of `dataset.json`."""
    root = pathlib.Path(root)
    for description in _description(root)["splits"].values():
        for shard in description["shards"]:
            if _sha256(root / shard["file"]) != shard["sha256"]:
                yield root / shard["file"], "its sha256 is not that of dataset.json"


def pack(source, folder, shard_bytes=128 * 2**20):
    """Writes both splits of a source as shards.

    Args:
        source: `Source`. Encoded images are stored as they are, arrays as PNG. Each is decoded once; broken ones are
            left out, added to the split's `bad` and named in the log.
        folder: new folder; it appears when everything is written.
        shard_bytes: integer, size at which a new shard is begun. Defaults to 128 MiB.

    Returns:
        The description, as in `dataset.json`.

    Raises:
        UserError: the folder exists, or the disk is full. A broken image in a source that does not expect any (TFDS).
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists already: give --output a new folder.")
    found = [split.bad for split in (source.train, source.validation) if split.bad is not None]
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        description = {
            "version": VERSION, "name": source.name, "class_names": list(source.class_names),
            "splits": {name: _write(split, name, partial, shard_bytes)
                       for name, split in zip(SPLITS, (source.train, source.validation), strict=True)},
        }
        (partial / "dataset.json").write_text(json.dumps(description, indent=2) + "\n")
        os.replace(partial, folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}).") from None
    except tf.errors.OpError:
        for bad in found:
            bad.check()
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for path, reason in (item for bad in found for item in bad.reasons.items()):
        log.warning("left out, broken: %s: %s", path, reason)
    return description


def _write(split, name, folder, shard_bytes):
    rows, shards, writer, written = [], [], None, 0
    for number, (image, label, intact, fault) in enumerate(_examples(split).as_numpy_iterator()):
        if fault and split.bad is None:
            raise UserError(f"Image {number} of the {name} split cannot be decoded: {fault.decode()}.")
        if fault:
            split.bad.add(split.paths[number], fault.decode())
        if fault or not intact:
            continue
        record = _record(image, int(label))
        if writer is None or written + len(record) > shard_bytes:
            if writer is not None:
                writer.close()
            shards.append(folder / f"{name}-{len(shards):05d}.tfrecord")
            writer, written = tf.io.TFRecordWriter(str(shards[-1])), 0
        offset = written + HEADER + record.index(image)
        rows.append((len(shards) - 1, written, offset, len(image), int(label), zlib.crc32(image)))
        writer.write(record)
        written += HEADER + len(record) + FOOTER
    if writer is None:
        raise UserError(f"The {name} split has no readable image: nothing to pack.")
    writer.close()
    final = [shard.with_name(f"{name}-{i:05d}-of-{len(shards):05d}.tfrecord") for i, shard in enumerate(shards)]
    for old, new in zip(shards, final, strict=True):
        os.replace(old, new)
    columns = np.array(rows, np.int64).T
    index = folder / f"{name}.index.npz"
    np.savez(index, **{k: column.astype(t) for (k, t), column in zip(COLUMNS.items(), columns, strict=True)})
    return {
        "examples": len(rows),
        "index_sha256": _sha256(index),
        "shards": [{"file": s.name, "bytes": s.stat().st_size, "sha256": _sha256(s)} for s in final],
    }


def _examples(split):
    """(encoded image, label, intact, why it cannot be decoded or "") in order."""

    def checked(image, label, intact):
        if image.dtype != tf.string:
            return tf.io.encode_png(image), label, intact, ""
        fault = tf.numpy_function(lambda content: decoding_fault(content).encode(), [image], tf.string, stateful=False)
        return image, label, intact, tf.ensure_shape(fault, ())

    if split.fetch is not None:
        examples = tf.data.Dataset.range(split.num_examples).map(split.fetch, tf.data.AUTOTUNE, deterministic=True)
    else:
        examples = split.scan(tf.constant(0, tf.int64), None).map(lambda _, *example: example)
    return examples.map(checked, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _record(image, label):
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _sha256(path):
    import hashlib

    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return digest.hexdigest()
