"""A data set of Hugging Face `datasets`, read by number from its Arrow table.

A folder written by `save_to_disk` is read without network access. So is a name of the Hub that is in the cache, with
`HF_HUB_OFFLINE=1`.
"""

import hashlib
import os
import pathlib

import numpy as np

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.channel_files import array_of_content
from keras_tricks.data.sources.data_source import as_pixels
from keras_tricks.data.sources.file_access import read_regular_file
from keras_tricks.data.sources.label_sets import number_label_sets, split_labels
from keras_tricks.data.sources.labels import number_labels
from keras_tricks.data.sources.layout import DEFAULT_TRAIN, VALIDATION_NAMES
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.table import Column, Table
from keras_tricks.utils.errors import UserError, nearest, one_line

ARRAYS = ("Array2D", "Array3D")
SAVED = ("dataset_dict.json", "state.json")  # files of `save_to_disk`


def hugging_face(name: str, data_dir: str | os.PathLike | None = None, max_bad_images: int = 100,
                 train_split: str = DEFAULT_TRAIN, validation_split: str | None = None,
                 image_column: str | None = None, label_column: str | None = None, separator: str | None = None,
                 channels: int = 3) -> Table:
    """Opens a data set that has a column of images and a column of labels.

    Images are an `Image` column, or an `Array3D` of uint8 `(height, width, channels)`, or `Array2D` in grey.

    Args:
        name: a folder, or a name of the Hub such as `"user/name"`, or `"user/name:configuration"`. Empty: `data_dir`.
        data_dir: the folder if `name` is empty, else the cache of `datasets`. Defaults to `None`.
        max_bad_images: integer >= 0.
        train_split, validation_split: names of the splits. The validation split defaults to the first that exists of
            `validation`, `test` and similar names; without one, every tenth image of a class is held out.
        image_column: defaults to `None`: the only column of images, or `"image"`. With other channels than 1 and 3
            arrays come first, otherwise `Image` columns.
        label_column: defaults to `None`: the only `ClassLabel`, or list of them, or `"label"`.
        separator: text between the labels of an image with several, if the column has texts and not lists. Defaults to
            `None`: one label an image.
        channels: integer, of the images. With other numbers than 1 and 3 an `Image` column has files as in
            `channel_files`. Defaults to `3`.

    Raises:
        UserError: the package is not installed, there is no such data set, split or column, or a label is missing.
    """
    if not name and data_dir is None:
        raise UserError("The source hf needs a data set: hf:user/name or hf:FOLDER, or --data-dir FOLDER.")
    where, splits = f"hf:{name or data_dir}", _load(name, data_dir)
    train_name, validation_name = _split_names(where, splits, train_split, validation_split)
    used = {key: splits[key] for key in (train_name, validation_name) if key is not None}
    image, label = _columns(where, next(iter(used.values())), image_column, label_column, channels)
    parts = [_Part(where, key, part, image, label, separator) for key, part in used.items()]
    kinds = {_check_images(where, part, image) for part in used.values()}
    if len(kinds) > 1:
        raise UserError(f"{where}: the column {image} has images of another kind in {' and '.join(used)}. Name another "
                        "column with data.image_column.")
    found = next(iter(kinds))
    colour = channels in (1, 3)
    texts, known = [text for part in parts for text in part.labels], parts[0].known
    numbering = number_labels if separator is None else number_label_sets
    names, labels = numbering(texts, _Places(parts), known, where)
    starts = np.cumsum([0, *(len(part.labels) for part in parts)])
    identity = hashlib.sha256("\n".join(part.identity for part in parts).encode()).hexdigest()

    def place(number):
        part = int(np.searchsorted(starts, number, side="right")) - 1
        return parts[part], number - int(starts[part])

    def example_name(number):
        part, row = place(number)
        return f"{where} {part.split}[{row}]"

    def make(numbers, chosen_labels):
        def read(i):
            part, row = place(int(numbers[i]))
            if found is not None:
                return as_pixels(part.read_array(row), found)
            return part.read(row) if colour else array_of_content(part.read(row), channels)

        own = found if found is not None else 3 if colour else channels
        return read_split(read, [example_name(int(number)) for number in numbers], BadImages(max_bad_images),
                          chosen_labels, encoded=found is None and colour, identity=identity, channels=own)

    in_validation = np.arange(starts[-1]) >= starts[1] if len(parts) > 1 else None
    return Table(where, names, labels, in_validation, example_name, make, fixed=known is not None,
                 remedy=f"It has the splits {', '.join(splits)}: name one with data.validation_split.")


def _load(name, data_dir):
    """{split: `datasets.Dataset`}"""
    try:
        import datasets
    except ImportError:
        raise UserError("The source hf:<name> needs the package datasets: pip install 'keras-tricks[hf]'") from None
    folder = pathlib.Path(name or data_dir).expanduser()
    cache = None if not name or data_dir is None else str(pathlib.Path(data_dir).expanduser())
    if not folder.exists() and (not name or name.startswith(("/", ".", "~")) or folder.is_absolute()):
        raise UserError(f"hf: the folder {folder} does not exist.")
    try:
        if any((folder / file).is_file() for file in SAVED):
            found = datasets.load_from_disk(str(folder))
        elif folder.is_dir():
            found = datasets.load_dataset(str(folder), cache_dir=cache)
        else:
            repository, _, configuration = name.partition(":")
            found = datasets.load_dataset(repository, configuration or None, cache_dir=cache)
    except Exception as error:
        raise UserError(f"hf:{name or data_dir} cannot be opened: {type(error).__name__}: {one_line(error)}") from error
    return dict(found) if isinstance(found, dict) else {DEFAULT_TRAIN: found}


def _split_names(where, splits, train_split, validation_split):
    """The names of the training split and of the validation split, or `None`."""
    for key, wanted in (("train_split", train_split), ("validation_split", validation_split)):
        if wanted not in splits and not (wanted is None or wanted == DEFAULT_TRAIN):
            raise UserError(f"`data.{key}` is {wanted!r}, and {where} has the splits {', '.join(splits)}."
                            f"{nearest(wanted, splits)}")
    usual = ("validation", *VALIDATION_NAMES)
    validation = validation_split or next((name for name in usual if name in splits and name != train_split), None)
    if train_split in splits:
        return train_split, validation
    if validation is not None:
        return None, validation
    raise UserError(f"{where} has the splits {', '.join(splits)}. Name them with data.train_split and "
                    "data.validation_split.")


def _columns(where, part, image_column, label_column, channels):
    """The names of the columns with images and labels."""
    kinds = {name: _kind(feature) for name, feature in part.features.items()}
    shown = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    groups = [("Image",), ARRAYS] if channels in (1, 3) else [ARRAYS, ("Image",)]
    images = next((group for group in groups if set(group) & set(kinds.values())), ())
    if kinds.get(image_column) in ("Image", *ARRAYS):
        images = (kinds[image_column],)
    found = []
    for column, kind in ((Column("image_column", image_column, "image"), "Image"),
                         (Column("label_column", label_column, "label"), "ClassLabel")):
        of_kind = [name for name, own in kinds.items() if own in (images if kind == "Image" else (kind,))]
        if column.given is None and len(of_kind) == 1:
            found.append(of_kind[0])
        elif column.name in kinds and (kind == "ClassLabel" or column.name in of_kind):
            found.append(column.name)
        else:
            what = "column of images" if kind == "Image" else "column of labels"
            many = f"has several: {', '.join(of_kind)}" if len(of_kind) > 1 else f"has no {what}"
            asked = f" named {column.given!r}" if column.given else ""
            raise UserError(f"{where} {many}{asked}. Its columns: {shown}."
                            f"{nearest(column.given, kinds) if column.given else ''} Name it with "
                            f"--set data.{column.key}=NAME.")
    return found


def _check_images(where, part, column):
    """The channels of a column of arrays as `Split.channels` counts them, `None` for files of images.

    Raises:
        UserError: arrays of another dtype than uint8, or of a shape that is no image.
    """
    feature = part.features.get(column)
    if type(feature).__name__ not in ARRAYS:
        return None
    shape = tuple(feature.shape)
    if feature.dtype != "uint8":
        raise UserError(f"{where}: the column {column} has arrays of {feature.dtype}, and images must be uint8 in "
                        "0-255. Convert them, or name another column with data.image_column.")
    return 3 if len(shape) == 2 or shape[-1] == 1 else shape[-1]


def _kind(feature):
    """The kind of a column, `"ClassLabel"` also for lists of them."""
    inner = getattr(feature, "feature", None)
    return type(inner if type(inner).__name__ == "ClassLabel" else feature).__name__


class _Part:
    """A split of a data set: its labels, texts or lists of texts, and a function that reads an image."""

    def __init__(self, where, split, part, image, label, separator):
        self.split, self.known = split, None
        self.images = part.with_format("arrow", columns=[image])
        self.feature = part.features.get(label)
        if self.feature is None:
            raise UserError(f"{where}: the split {split} has no column {label}.")
        values = part.with_format("arrow", columns=[label])[:].column(0).to_pylist()
        names = getattr(getattr(self.feature, "feature", self.feature), "names", None)
        several = separator is not None
        missing = [i for i, value in enumerate(values) if value is None or (names and any(
            one is None or one < 0 for one in (value if isinstance(value, list) else [value])))]
        if missing:
            raise UserError(f"{where}: {len(missing)} examples of {split} have no {label}, such as {split}"
                            f"[{missing[0]}]. Choose another split with data.train_split or data.validation_split.")
        first = next((value for value in values if value != []), 0)
        if not several and isinstance(first, list) or not isinstance(first, int | str | list):
            hint = " Several labels an image: --set data.multi_label=true." if isinstance(first, list) else ""
            raise UserError(f"{where}: the column {label} must have numbers or names. Received: {first!r:.100}.{hint}")
        as_text = (lambda value: names[value]) if names else str
        if several:
            lists = (v if isinstance(v, list) else split_labels(v, separator) if isinstance(v, str) else [v]
                     for v in values)
            self.labels = [[as_text(value) for value in own] for own in lists]
        else:
            self.labels = [as_text(value) for value in values]
        self.known = tuple(names) if names else None
        sizes = [os.path.getsize(file["filename"]) for file in part.cache_files if os.path.exists(file["filename"])]
        digest = hashlib.sha256(f"{split} {part.features} {sizes}".encode())
        digest.update("\0".join(map(str, self.labels)).encode())
        self.identity = digest.hexdigest()

    def read(self, row):
        """The content of an image file. Raises `ValueError` if it is missing."""
        value = self.images[row].column(0)[0].as_py()
        if value is None:
            raise ValueError("the image is missing")
        return value["bytes"] if value.get("bytes") is not None else read_regular_file(value["path"])


    def read_array(self, row):
        """The array of an image. Raises `ValueError` if it is missing."""
        column = self.images[row].column(0).combine_chunks()
        if column.null_count:
            raise ValueError("the image is missing")
        return np.asarray((column.chunk(0) if hasattr(column, "chunk") else column).to_numpy(zero_copy_only=False)[0])


class _Places:
    """Where the labels of several parts are, for messages."""

    def __init__(self, parts):
        self.parts = parts

    def __getitem__(self, number):
        for part in self.parts:
            if number < len(part.labels):
                return f"{part.split}[{number}]"
            number -= len(part.labels)
        raise IndexError(number)
