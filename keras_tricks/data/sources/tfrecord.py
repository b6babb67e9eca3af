"""Packed data: TFRecord shards whose examples are read in any order, with a checksum each.

    <folder>/dataset.json                    classes; for each split the number of examples, and shards with their
                                             sha256
    <folder>/<split>-00000-of-00008.tfrecord tf.train.Example: image/encoded (bytes), image/class/label (int64,
                                             several of images with several labels)
    <folder>/<split>.index.npz               for each example: shard, start of its record, offset and length of its
                                             image, label, crc32; with several labels an image `label` is
                                             uint8 (n, classes) of 0 and 1

A few large files are read faster than many small ones, from disks and over networks. The shards are ordinary TFRecord
files. With the index the pipeline reads example 123,456 like a separate file, so order and pixels equal those of the
unpacked data.
"""

import contextlib
import dataclasses
import errno
import functools
import glob
import json
import logging
import os
import pathlib
import shutil
import zlib

import filelock
import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.file_access import retry
from keras_tricks.data.sources.image_files import decoding_fault
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.names import Names
from keras_tricks.data.sources.pixel_records import read_pixels
from keras_tricks.data.sources.reencode import Encoding, in_graph
from keras_tricks.data.sources.shard_index import (
    COLUMNS,
    FOOTER,
    HEADER,
    SETS_VERSION,
    SPLITS,
    VERSION,
    Shard,
    file_sha256,
    identity,
    read_description,
    read_index,
    shard_paths,
)
from keras_tricks.data.sources.source import Source, Split
from keras_tricks.utils.atomic_files import flush_to_disk, flush_tree, is_disk_full
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

OPEN_SHARDS = 128  # at once

log = logging.getLogger("absl")


def tfrecord(data_dir: str | os.PathLike, max_bad_images: int = 100, minival: float = 0.0,
             upright: bool = False) -> Source:
    """Opens a folder written by `pack`; `minival` as for `open_source`.

    Images are encoded, or uint8 arrays if all were packed uncompressed. Of these, the few that have an orientation in
    EXIF and are therefore encoded are decoded here, and turned `upright` if that is true (`data.exif=apply`).

    Raises:
        UserError: the folder does not exist, one of its files is missing or truncated, or the version is another.
    """
    if data_dir is None:
        raise UserError("The source tfrecord needs the folder written by `keras-tricks data pack`: give --data-dir.")
    root = pathlib.Path(data_dir).expanduser()
    description = read_description(root)
    splits, arrays = [], (description.get("encoding") or {}).get("uncompressed") == 1
    for name in SPLITS:
        index = read_index(root, description, name)
        splits.append((shard_paths(root, description, name), index, None))
    if minival:
        paths, index, _ = splits[0]
        splits = [(paths, index, part) for part in split_off(range(len(index["label"])), minival)]
    return Source(description["name"], tuple(description["class_names"]),
                  *(_indexed_split(*split, BadImages(max_bad_images), arrays, upright) for split in splits))


def _indexed_split(paths, index, numbers, bad, arrays, upright):
    """A `Split` of some examples of an index, all if `numbers` is `None`, encoded or as `arrays`.

    One that cannot be read is recorded and replaced by the next one.
    """
    identity_of_all, several = identity(index), index["label"].ndim == 2
    label_type, label_shape = (tf.uint8, index["label"].shape[1:]) if several else (tf.int32, ())
    index = {column: index[column] for column in ("shard", "offset", "length", "label", "crc32")}
    if numbers is not None:
        index = {column: values[numbers] for column, values in index.items()}
    bad.total = count = len(index["label"])
    right = np.zeros(count if arrays else 0, bool)  # images that were read and had their checksum
    names = Names(count, lambda i: f"{paths[index['shard'][i]].name}, example {i if numbers is None else numbers[i]}")

    @functools.lru_cache(OPEN_SHARDS)
    def opened(shard):
        return Shard(paths[shard])

    def read_example(i):
        """The image, or `None` if it is not what was written."""
        shard, offset, length, crc32 = (int(index[name][i]) for name in ("shard", "offset", "length", "crc32"))
        try:
            if arrays:
                pixels = read_pixels(opened(shard), offset, length, None if right[i] else crc32, upright)
                right[i] = pixels is not None
                return pixels
            content = opened(shard).read(offset, length)
            return content if zlib.crc32(content) == crc32 else None
        except OSError:
            opened.cache_clear()  # a stale handle stays stale
            raise

    def read(position):
        for step in range(count):
            i = (int(position) + step) % count
            try:
                image = retry(read_example, i)
            except OSError as error:
                bad.add(names[i], error.strerror or str(error))
                continue
            if image is not None:
                return image, index["label"][i], step == 0
            bad.add(names[i], "its checksum is wrong")
        raise AssertionError("unreachable: `bad.add` raises at the last example")

    def fetch(position):
        types = (tf.uint8 if arrays else tf.string, label_type, tf.bool)
        image, label, same = tf.numpy_function(read, [position], types, stateful=False)
        image = tf.ensure_shape(image, (None, None, 3) if arrays else ())
        return image, tf.ensure_shape(label, label_shape), tf.ensure_shape(same, ())

    return Split(num_examples=count, fetch=fetch, paths=names, bad=bad, labels=index["label"], identity=identity_of_all,
                 multi_label=several)


def pack(source: Source, folder: str | os.PathLike, shard_bytes: int = 128 * 2**20,
         encoding: Encoding | None = None) -> dict:
    """Writes both splits of a source as shards.

    Args:
        source: `Source`. Encoded images are stored unchanged, arrays as PNG, unless there is an `encoding`. Each image
            is decoded once; broken ones are left out, added to the split's `bad` and logged. Several labels an image
            are kept.
        folder: new folder. It appears when everything is written.
        shard_bytes: integer, size at which a new shard is started. Defaults to 128 MiB.
        encoding: `Encoding` of the images, whose pixels change. Defaults to `None`: they are stored unchanged.

    Returns:
        The description in `dataset.json`, a dict.

    Raises:
        UserError: the folder exists, another process is writing it, the disk is full, a source without a list of
            broken images (TFDS) has one, or images are neither in colour nor grey.
    """
    folder = pathlib.Path(folder)
    if source.train.channels != 3:
        raise UserError(f"{source.name} has images of {source.train.channels} channels, and packed data are JPEG and "
                        "PNG images in colour or grey: train from the source itself.")
    found = [split.bad for split in (source.train, source.validation) if split.bad is not None]
    with _new_folder(folder) as partial:
        try:
            description = {
                "version": SETS_VERSION if source.multi_label else VERSION, "name": source.name,
                "class_names": list(source.class_names),
                "encoding": None if encoding is None else dataclasses.asdict(encoding),
                "splits": {name: _write(split, name, partial, shard_bytes, encoding)
                           for name, split in zip(SPLITS, (source.train, source.validation), strict=True)},
            }
        except tf.errors.OpError as error:
            for bad in found:
                bad.check()
            if is_disk_full(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
        (partial / "dataset.json").write_text(json.dumps(description, indent=2) + "\n")
    for path, reason in (item for bad in found for item in bad.reasons.items()):
        log.warning("left out, broken: %s: %s", printable(path), reason)
    return description


@contextlib.contextmanager
def _new_folder(folder):
    """Gives a temporary folder, and renames it to `folder` at the end. No other process can write the same folder.

    Raises:
        UserError: `folder` exists or cannot be written, or another process is writing it.
    """
    lock, locked = folder.with_name(f".{folder.name}.lock"), False
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(NotImplementedError):  # some network file systems have no locks
            (file_lock := filelock.FileLock(lock)).acquire(timeout=0)
            locked = True
        if folder.exists():
            raise UserError(f"{folder} exists already: give --output a new folder.")
        for left in folder.parent.glob(glob.escape(f".{folder.name}.") + "*partial"):  # of processes that were killed
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir()
        yield partial
        flush_tree(partial)
        os.rename(partial, folder)
        flush_to_disk(folder.parent)
    except filelock.Timeout:
        raise UserError(f"Another process is writing {folder}: wait for it, or give --output another folder.") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if locked:
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)  # before the release: afterwards it may be the file of the next process
            file_lock.release()


def _write(split, name, folder, shard_bytes, encoding):
    rows, labels, shards, writer, written = [], [], [], None, 0
    for number, (image, label, intact, fault) in enumerate(_examples(split, encoding).as_numpy_iterator()):
        if fault and split.bad is None:
            raise UserError(f"Image {number} of the {name} split cannot be decoded: {fault.decode()}.")
        if fault:
            split.bad.add(split.paths[number], fault.decode())
        if fault or not intact:
            continue
        record = _record(image, np.flatnonzero(label) if split.multi_label else [label])
        if writer is None or written + len(record) > shard_bytes:
            if writer is not None:
                writer.close()
            shards.append(folder / f"{name}-{len(shards):05d}.tfrecord")
            writer, written = tf.io.TFRecordWriter(str(shards[-1])), 0
        offset = written + HEADER + record.index(image)
        rows.append((len(shards) - 1, written, offset, len(image), zlib.crc32(image)))
        labels.append(label)
        writer.write(record)
        written += HEADER + len(record) + FOOTER
    if writer is None:
        raise UserError(f"The {name} split has no readable image: nothing to pack.")
    writer.close()
    final = [shard.with_name(f"{name}-{i:05d}-of-{len(shards):05d}.tfrecord") for i, shard in enumerate(shards)]
    for old, new in zip(shards, final, strict=True):
        os.replace(old, new)
    columns = dict(zip((column for column in COLUMNS if column != "label"), np.array(rows, np.int64).T, strict=True))
    columns = {column: columns[column].astype(dtype) if column in columns else np.stack(labels).astype(
        "uint8" if split.multi_label else dtype) for column, dtype in COLUMNS.items()}
    index = folder / f"{name}.index.npz"
    np.savez(index, **columns)
    return {
        "examples": len(rows),
        "index_sha256": file_sha256(index),
        "shards": [{"file": s.name, "bytes": s.stat().st_size, "sha256": file_sha256(s)} for s in final],
    }


def _examples(split, encoding):
    """(encoded image, label, intact, reason why it cannot be decoded or "") of all examples, in order."""

    def checked(image, label, intact):
        if image.dtype != tf.string:
            image = tf.io.encode_png(image)
            return image if encoding is None else in_graph(encoding, image), label, intact, ""
        fault = tf.numpy_function(lambda content: decoding_fault(content).encode(), [image], tf.string, stateful=False)
        fault = tf.ensure_shape(fault, ())
        if encoding is not None:
            image = tf.cond(fault == b"", lambda: in_graph(encoding, image), lambda: image)
        return image, label, intact, fault

    if split.fetch is not None:
        examples = tf.data.Dataset.range(split.num_examples).map(split.fetch, tf.data.AUTOTUNE, deterministic=True)
    else:
        examples = split.scan(tf.constant(0, tf.int64), None).map(lambda _, *example: example)
    return examples.map(checked, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _record(image, labels):
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
