"""A CSV file of paths and labels, with the columns `path`, `label` and, optionally, `split`.

    path,label,split
    photos/1.jpg,cat,train
    photos/2.jpg,dog,validation

Paths are relative to the file, with `/` or `\\`. Labels are names or numbers, see `labels.number_labels`. The rows may
also be in two files of one folder, `train.csv` and `validation.csv`.
"""

import csv
import dataclasses
import functools
import hashlib
import io
import logging
import os
import pathlib
import re
import stat
import typing

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.channel_files import channel_split
from keras_tricks.data.sources.file_access import KINDS, read_regular_file, retry, size_fault
from keras_tricks.data.sources.folder_scan import LeftOut
from keras_tricks.data.sources.image_folder import path_split
from keras_tricks.data.sources.label_sets import number_label_sets, split_labels
from keras_tricks.data.sources.labels import known_class_names, number_labels
from keras_tricks.data.sources.layout import DEFAULT_TRAIN, TRAIN_NAMES, VALIDATION_NAMES
from keras_tricks.data.sources.table import Column, Table
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.text import printable

DELIMITERS = ",;\t"
SPLIT = "split"
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # of spreadsheet programs; otherwise UTF-8
REPEATED = "a row that repeats an earlier one"

log = logging.getLogger("absl")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a CSV file: `path` and `label` as written, `split` or `""`, and where it is."""

    path: str
    label: str
    split: str
    place: str


def csv_table(data_dir: str | os.PathLike | None, max_bad_images: int = 100, train_split: str = DEFAULT_TRAIN,
              validation_split: str | None = None, image_column: str | None = None, label_column: str | None = None,
              separator: str | None = None, channels: int = 3) -> Table:
    """Opens a CSV file, or a folder with `train.csv` and, optionally, `validation.csv`.

    Missing files count as broken. A row that repeats an earlier one is left out, with a line in the log. If
    `classes.json` or `classes.txt` is beside the file, it has the class names in label order.

    Args:
        data_dir: the file or folder.
        max_bad_images: integer >= 0.
        train_split, validation_split: values of the column `split`, or names of the files, in any case. The defaults
            find those of `image_folder`.
        image_column, label_column: names of the columns. They default to `"path"` and `"label"`.
        separator: text between the labels in a cell, of images with several. A cell with the separator alone means none
            of the classes. Defaults to `None`: one label an image.
        channels: integer, of the images. Other numbers than 1 and 3 need `.npy` or TIFF files, see `channel_files`.
            Defaults to `3`.

    Raises:
        UserError: the file cannot be read, has no header or no rows, an empty cell, a label out of range, or one image
            with two labels. The message names the line.
    """
    if data_dir is None:
        raise UserError("The source csv needs a file: give --data-dir FILE.csv (or data.data_dir).")
    path = pathlib.Path(data_dir).expanduser()
    columns = Column("image_column", image_column, "path"), Column("label_column", label_column, "label")
    if path.is_dir():
        rows, in_validation = _rows_of_folder(path, columns, train_split, validation_split)
        folder = path
    else:
        rows, in_validation = _divided(path, _read_rows(path, columns), train_split, validation_split)
        folder = path.parent
    return _table(path, folder, rows, in_validation, max_bad_images, separator, channels)


def _table(path, folder, rows, in_validation, max_bad_images, separator, channels):
    name, left_out = printable(path), LeftOut()
    files = [_find(folder, row.path) for row in rows]
    kept = _without_repeats(name, rows, files, in_validation, left_out)
    rows, files = [rows[i] for i in kept], [files[i] for i in kept]
    in_validation = in_validation and np.array([in_validation[i] for i in kept], bool)
    known = known_class_names(folder)
    texts, places = [row.label for row in rows], [row.place for row in rows]
    if separator is None:
        names, labels = number_labels(texts, places, known, name)
    else:
        names, labels = number_label_sets([split_labels(text, separator) for text in texts], places, known, name)
    broken = {file.path: file.reason for file in files if file.reason}
    digest = hashlib.sha256()
    for row, file in zip(rows, files, strict=True):
        digest.update(f"{row.path}\0{file.size}\0{row.label}\0{row.split}\n".encode())
    for what, count, why in left_out.rows():
        log.info("%s: %d %s: %s", name, count, what, why)

    def make(numbers, chosen_labels):
        paths, bad = [files[i].path for i in numbers], BadImages(max_bad_images)
        make_split = path_split if channels in (1, 3) else functools.partial(channel_split, channels)
        split = make_split(paths, chosen_labels, bad, broken)
        split.bad.check()
        return dataclasses.replace(split, identity=digest.hexdigest(), left_out=tuple(left_out.rows()))

    return Table(name, names, labels, in_validation, lambda i: rows[i].path, make, fixed=known is not None,
                 remedy="Add a column split with train and validation.")


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows_of_folder(folder, columns, train_split, validation_split):
    """The rows of `train.csv` and of the first validation file that exists, and which are of the latter."""
    files = {path.stem.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv"}
    wanted = TRAIN_NAMES if train_split == DEFAULT_TRAIN else (train_split.lower().removesuffix(".csv"),)
    train = next((files[name] for name in wanted if name in files), None)
    if train is None:
        raise UserError(f"{printable(folder)} has no {wanted[0]}.csv. Give --data-dir the CSV file"
                        f"{f', such as {printable(next(iter(files.values())))}' if files else ''}.")
    wanted = (validation_split.lower().removesuffix(".csv"),) if validation_split else VALIDATION_NAMES
    validation = next((files[name] for name in wanted if name in files), None)
    if validation is None and validation_split:
        raise UserError(f"`data.validation_split` is {validation_split!r}, and {printable(folder)} has no such CSV "
                        "file.")
    if validation is None:
        return _divided(train, _read_rows(train, columns), DEFAULT_TRAIN, None)
    log.info("training images: %s, validation images: %s", printable(train), printable(validation))
    first, second = _read_rows(train, columns), _read_rows(validation, columns)
    rows = [dataclasses.replace(row, place=f"{path.name}, {row.place}", split=split)
            for path, split, own in ((train, "train", first), (validation, "validation", second)) for row in own]
    return rows, [False] * len(first) + [True] * len(second)


def _divided(path, rows, train_split, validation_split):
    """(the rows of both splits, for each whether it is of the validation split, or `None` without a column `split`)."""
    found = dict.fromkeys(row.split.lower() for row in rows)
    if found == {"": None}:
        if validation_split or train_split != DEFAULT_TRAIN:
            raise UserError(f"`data.{'validation_split' if validation_split else 'train_split'}` is "
                            f"{validation_split or train_split!r}, and {printable(path)} has no column {SPLIT}.")
        return rows, None
    empty = [row.place for row in rows if not row.split]
    if empty:
        raise UserError(f"{printable(path)}: the cell of {SPLIT} is empty in {', '.join(empty[:3])}"
                        f"{f' and {len(empty) - 3} more' if len(empty) > 3 else ''}. Expected train or validation.")
    usual = TRAIN_NAMES if train_split == DEFAULT_TRAIN else (train_split.lower(),)
    train = next((name for name in usual if name in found), None)
    usual = (validation_split.lower(),) if validation_split else VALIDATION_NAMES
    validation = next((name for name in usual if name in found), None)
    for key, wanted, value in (("train_split", train_split != DEFAULT_TRAIN, train),
                               ("validation_split", validation_split, validation)):
        if wanted and value is None:
            raise UserError(f"`data.{key}` names no split of {printable(path)}. It has {', '.join(found)}.")
    if train is None and validation is None:
        raise UserError(f"{printable(path)}: the column {SPLIT} has {', '.join(list(found)[:5])}. Expected train and "
                        "validation, or name them with data.train_split and data.validation_split.")
    others = [name for name in found if name not in (train, validation)]
    if others:
        log.info("%s: rows of these splits are not read: %s", printable(path), ", ".join(others[:5]))
    rows = [row for row in rows if row.split.lower() in (train, validation)]
    return rows, None if validation is None else [row.split.lower() == validation for row in rows]


def _read_rows(path, columns):
    """The `Row`s of a file."""
    where, text = printable(path), _read_text(path)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, columns), strict=True)
        header = next((cells for cells in lines if any(cell.strip() for cell in cells)), None)
        if header is None:
            raise UserError(f"{where} is empty. Expected a line path,label and one line for each image.")
        path_place, label_place, split_place = _places(where, [cell.strip() for cell in header], columns)
        rows = []
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"line {lines.line_num}"
            if len(cells) > len(header):
                raise UserError(f"{where}, {place}: {len(cells)} cells, and the header has {len(header)}. Put a text "
                                "with a comma into quotation marks.")
            cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
            for column, number in zip(columns, (path_place, label_place), strict=True):
                if not cells[number]:
                    raise UserError(f"{where}, {place}: the cell of {column.name} is empty. Fill it or remove the "
                                    "line.")
            split = cells[split_place] if split_place is not None else ""
            rows.append(Row(cells[path_place], cells[label_place], split, place))
    except csv.Error as error:
        raise UserError(f"{where}, line {lines.line_num}: not valid CSV ({error}).") from None
    if not rows:
        raise UserError(f"{where} has a header and no rows. Expected one line for each image.")
    return rows


def _read_text(path):
    try:
        content = read_regular_file(path)
        return content.decode(MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{printable(path)} is not text in UTF-8 (byte {error.start}). Save it as CSV in "
                        "UTF-8.") from None
    except ValueError as error:
        raise UserError(f"The CSV file {printable(path)} cannot be read ({error}).") from None


def _delimiter(text, columns):
    """The delimiter of a text: the first with which its header has the columns, or a comma."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    wanted = {column.name.lower() for column in columns}
    for delimiter in DELIMITERS:
        if wanted <= {cell.strip(' "').lower() for cell in header.split(delimiter)}:
            return delimiter
    return DELIMITERS[0]


def _places(where, header, columns):
    """The places of the columns for images, labels and splits in a header, the last one or `None`."""
    lower = [cell.lower() for cell in header]
    repeated = [cell for cell in dict.fromkeys(lower) if cell and lower.count(cell) > 1]
    wanted = [column.name.lower() for column in columns]
    if set(repeated) & {*wanted, SPLIT}:
        raise UserError(f"{where} has the column {repeated[0]} twice: rename one of them.")
    missing = [column for column in columns if column.name.lower() not in lower]
    if len(missing) == 2 and not any(column.given for column in columns):
        raise UserError(f"{where} has no header: its first line must name the columns, path,label or path,label,split."
                        f" It is {','.join(header)[:100]!r}. Add this line, or name other columns with "
                        "--set data.image_column=NAME --set data.label_column=NAME.")
    if missing:
        raise UserError(f"{where} has no column {missing[0].name!r}. It has {', '.join(header)[:200]}."
                        f"{nearest(missing[0].name, header)} Name the column with --set data.{missing[0].key}=NAME.")
    return *(lower.index(name) for name in wanted), lower.index(SPLIT) if SPLIT in lower else None


# --- files ------------------------------------------------------------------------------------------------------------


class File(typing.NamedTuple):
    """The file of a row: path, size in bytes or -1, and the reason why it cannot be read, or `""`."""

    path: str
    size: int
    reason: str


def _find(folder, text):
    """The `File` of a path as written. Backslashes separate folders if no file has them in its name."""
    paths = [os.path.join(folder, text)]
    if "\\" in text and os.sep == "/":
        paths.append(os.path.join(folder, text.replace("\\", "/")))
    reason = ""
    for path in paths:
        try:
            status = retry(os.stat, path)
        except (OSError, ValueError) as error:  # ValueError: a null character
            reason = getattr(error, "strerror", None) or str(error)
            continue
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            return File(path, status.st_size, size_fault(status.st_size))
        reason = f"it is {KINDS.get(kind, 'not a regular file')}"
    if DRIVE.match(text) and os.sep == "/":
        reason = "it is a path of Windows; write paths relative to the CSV file"
    return File(paths[-1], -1, reason)


def _without_repeats(name, rows, files, in_validation, left_out):
    """The numbers of the rows without those that repeat an earlier one of the same split."""
    first, shared, kept = {}, 0, []
    for i, (row, file) in enumerate(zip(rows, files, strict=True)):
        key, held_out = os.path.normpath(file.path), bool(in_validation and in_validation[i])
        places = first.setdefault(key, {})
        other = next((rows[j] for j in places.values() if rows[j].label != row.label), None)
        if other:
            raise UserError(f"{name}: {row.path} has the label {other.label!r} in {other.place} and {row.label!r} in "
                            f"{row.place}. Keep one of them.")
        if held_out in places:
            left_out.add(row.place, REPEATED)
            continue
        shared += bool(places)
        places[held_out] = i
        kept.append(i)
    if shared:
        log.warning("%s: %d images are both training and validation images", name, shared)
    return kept
