"""The description and the index of packed data: reads them, and checks that they fit each other and the shards."""

import hashlib
import json
import os
import pathlib
import re
import struct
import threading
import zipfile
from collections.abc import Iterator

import numpy as np

from keras_tricks.data.sources.file_access import read_regular_file, retry
from keras_tricks.utils.errors import UserError

VERSION, SETS_VERSION = 1, 2  # of folders whose images have one label, and several
COLUMNS = {"shard": "int32", "start": "int64", "offset": "int64", "length": "int64", "label": "int32",
           "crc32": "uint32"}
HEADER, FOOTER = 12, 4  # bytes before a record (its length and a checksum) and after it (another checksum)
SPLITS = ("train", "validation")
BLOCK = 2**20  # bytes hashed at once
ROWS = 2**18  # rows of an index that are checked at once


def read_description(root: pathlib.Path) -> dict:
    """The content of `dataset.json`.

    Raises:
        UserError: it cannot be read, a part of it is missing or of another type, or it has another version.
    """
    path = root / "dataset.json"
    try:
        description = json.loads(read_regular_file(path))
        version = description["version"]
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not the description of a packed data set ({type(error).__name__}: {error}). Copy "
                        "the packed data again.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}). `keras-tricks data pack` writes it.") from None
    if version not in (VERSION, SETS_VERSION) or type(version) is not int:
        raise UserError(f"{path} has version {version!r}; this keras_tricks reads {VERSION} and {SETS_VERSION}. Pack "
                        "the data again.")
    if wrong := _wrong_part(description):
        raise UserError(f"{path} is not the description of a packed data set: {wrong}. Copy the packed data again.")
    return description


def _wrong_part(description):
    """What is wrong in a description, or `""`."""
    names = description.get("class_names")
    if not isinstance(description.get("name"), str):
        return "`name` is not a text"
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        return "`class_names` is not a list of texts"
    if len(set(names)) < len(names):
        return "`class_names` has a name twice"
    if not isinstance(description.get("encoding"), dict | None):
        return "`encoding` is not a group of settings"
    for split in SPLITS:
        part = description["splits"].get(split) if isinstance(description.get("splits"), dict) else None
        if not isinstance(part, dict):
            return f"`splits` has no {split}"
        if not isinstance(part.get("index_sha256", ""), str):
            return f"`index_sha256` of {split} is not a text"
        shards = part.get("shards")
        if not (isinstance(shards, list) and shards and all(map(_is_shard, shards))):
            return f"`shards` of {split} is not a list of files with `file`, `bytes` and `sha256`"
    return ""


def _is_shard(shard):
    if not isinstance(shard, dict):
        return False
    file, size = shard.get("file"), shard.get("bytes")
    named = isinstance(file, str) and re.fullmatch(r"[\w.-]+", file) and file.strip(".")
    return bool(named) and type(size) is int and size > 0 and isinstance(shard.get("sha256"), str)


def shard_paths(root: pathlib.Path, description: dict, split: str) -> list[pathlib.Path]:
    """The shards of a split. Raises `UserError` if one is missing or has another size than in the description."""
    paths = []
    for shard in description["splits"][split]["shards"]:
        path = root / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes instead of {shard['bytes']:,}"
            raise UserError(f"{path} {found}: copy the packed data again.")
        paths.append(path)
    return paths


def has_label_sets(description: dict) -> bool:
    """Whether the images of a packed folder have several labels."""
    return description["version"] == SETS_VERSION


def read_index(root: pathlib.Path, description: dict, split: str) -> dict[str, np.ndarray]:
    """The columns of a split's index. `start` may be missing (keras_tricks 0.1.0).

    Of images with several labels the column `label` is uint8 `(n, classes)`.

    Raises:
        UserError: it cannot be read, or does not belong to these shards.
    """
    path = root / f"{split}.index.npz"
    expected = description["splits"][split].get("index_sha256")
    try:
        if not path.is_file():  # also a named pipe, whose reader would wait
            raise ValueError("No such file or directory" if not path.exists() else "it is no file")
        if expected is not None and retry(file_sha256, path) != expected:
            raise UserError(f"{path} does not fit its shards: copy or pack the data again.")
        with np.load(path, allow_pickle=False) as file:  # may have gigabytes, which are in memory once
            index = {column: file[column] for column in COLUMNS if column in file or column != "start"}
    except UserError:
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds
        raise UserError(f"{path} cannot be read ({error}): copy the packed data again.") from None
    if wrong := _wrong_column(index, description, split):
        raise UserError(f"{path} does not fit its shards ({wrong}): copy or pack the data again.")
    types = COLUMNS | ({"label": "uint8"} if has_label_sets(description) else {})
    return {column: values.astype(types[column], copy=False) for column, values in index.items()}


def _wrong_column(index, description, split):
    """What is wrong in an index, or `""`."""
    several, classes = has_label_sets(description), len(description["class_names"])
    shapes = {values.shape for column, values in index.items() if column != "label"} | {index["label"].shape[:1]}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not next(iter(shapes))[0]:
        return "its columns do not have one number for each example"
    if index["label"].shape[1:] != ((classes,) if several else ()):
        return f"its labels have the shape {index['label'].shape}"
    if not all(np.issubdtype(values.dtype, np.integer) for values in index.values()):
        return "its columns are not integers"
    count = len(index["label"])
    if description["splits"][split].get("examples", count) != count:
        return f"{count:,} examples instead of {description['splits'][split]['examples']}"
    faults = (_wrong_row({column: values[first : first + ROWS] for column, values in index.items()}, first, description,
                         split) for first in range(0, count, ROWS))
    return next(filter(None, faults), "")


def _wrong_row(index, first, description, split):
    """The first fault in some rows of an index, which start with number `first`, or `""`."""
    index = {column: values if values.dtype == COLUMNS[column] else values.astype("int64")
             for column, values in index.items()}
    sizes = np.array([shard["bytes"] for shard in description["splits"][split]["shards"]])
    outside = (index["shard"] < 0) | (index["shard"] >= len(sizes))
    if outside.any():
        return f"example {first + outside.argmax()} is in shard {index['shard'][outside.argmax()]} of {len(sizes)}"
    start = index.get("start", index["offset"] - HEADER)
    last = sizes[index["shard"]] - FOOTER
    outside = (start < 0) | (index["offset"] < start + HEADER) | (index["length"] < 1) | (
        index["length"] > last - index["offset"])
    if outside.any():
        return f"example {first + outside.argmax()} is outside its shard"
    several, classes = has_label_sets(description), len(description["class_names"])
    outside = (index["label"] < 0) | (index["label"] >= (2 if several else classes))
    if several and outside.any():
        return f"example {first + outside.any(axis=1).argmax()} has other labels than 0 and 1"
    if outside.any():
        number = outside.argmax()
        return f"example {first + number} has label {index['label'][number]} of {classes} classes"
    outside = (index["crc32"] < 0) | (index["crc32"] >= 2**32)
    return f"example {first + outside.argmax()} has no valid checksum" if outside.any() else ""


def column_places(path: pathlib.Path) -> dict[str, tuple[int, np.dtype, tuple]]:
    """(position of the first number in the file, dtype, shape of an example) of each column of an index, so that others
    can read one number.

    Empty for a compressed file, which `pack` does not write.
    """
    places = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                return {}
            file.seek(member.header_offset + 26)  # the lengths of the name and of the extra field
            file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
            np.lib.format.read_magic(file)
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if is_fortran and len(shape) > 1:
                return {}
            places[member.filename.removesuffix(".npy")] = file.tell(), dtype, shape[1:]
    return places


def record_starts(shards: list[pathlib.Path], index: dict[str, np.ndarray]) -> np.ndarray:
    """The position of each record in its shard, int64 `(n,)`, in the order of writing.

    Folders packed by keras_tricks 0.1.0 do not store it. For these, the lengths in front of the records are read.

    Raises:
        UserError: the shards do not have as many records as the index.
    """
    if "start" in index:
        return index["start"]
    starts = [start for shard in shards for start, _ in scan_records(shard)]
    if len(starts) != len(index["label"]):
        raise UserError(f"{shards[0].parent} has {len(starts):,} records for {len(index['label']):,} examples: copy or "
                        "pack the data again.")
    return np.array(starts, np.int64)


def scan_records(shard: pathlib.Path) -> Iterator[tuple[int, int]]:
    """Yields (start, length) of the records of a shard, up to the first that is not whole."""
    size = os.path.getsize(shard)
    with open(shard, "rb") as file:
        start = 0
        while start + HEADER + FOOTER <= size:
            file.seek(start)
            (length,) = struct.unpack("<Q", file.read(8))
            if start + HEADER + length + FOOTER > size:
                return
            yield start, length
            start += HEADER + length + FOOTER


class Shard:
    """An open shard. Reads by position; several threads may read at once.

    A memory map would be as fast, but a file that shrinks while it is mapped ends the process.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.descriptor, self.lock = -1, threading.Lock()
        self.descriptor = retry(os.open, path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`."""
        if hasattr(os, "pread"):
            return os.pread(self.descriptor, length, start)
        with self.lock:  # Windows
            os.lseek(self.descriptor, start, os.SEEK_SET)
            return os.read(self.descriptor, length)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def file_sha256(path: str | os.PathLike) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def identity(index: dict[str, np.ndarray]) -> str:
    """sha256 of the labels, sizes and checksums of all images. The same for shards of another size."""
    digest = hashlib.sha256()
    for column in ("label", "length", "crc32"):
        dtype = "uint8" if index[column].ndim == 2 else COLUMNS[column]
        digest.update(np.ascontiguousarray(index[column].astype(dtype, copy=False)))
    return digest.hexdigest()
