"""Opens a source by name. A source has classes and two splits; a split reads examples.

    digits            scikit-learn's 1,797 8x8 images, part of the package's requirements: no download
    image_folder      `train/` and `val/` (or `test/`), with one sub-folder per class in each
    csv               a file with the columns `path`, `label` and, optionally, `split`
    hf:<name>         a data set of Hugging Face `datasets`: a folder, or a name of the Hub
    webdataset        tar shards in the layout of the `webdataset` package
    tfds:<name>       a TensorFlow Datasets builder found on disk
    tfrecord          shards written by `keras-tricks data pack`
    package.mod:name  a function `name(data)` of your own, called with the recipe's `data` section
"""

import logging
import os
import types
import typing
from collections.abc import Sequence

from keras_tricks.data.sources.as_source import as_source, hold_out
from keras_tricks.data.sources.csv_table import csv_table
from keras_tricks.data.sources.digits import digits
from keras_tricks.data.sources.hugging_face import hugging_face
from keras_tricks.data.sources.image_folder import evaluation_folder, image_folder
from keras_tricks.data.sources.source import Source, Split, match_classes
from keras_tricks.data.sources.table import Table
from keras_tricks.data.sources.tfds import tfds
from keras_tricks.data.sources.tfrecord import tfrecord
from keras_tricks.data.sources.webdataset import webdataset
from keras_tricks.utils.class_names import look_alikes
from keras_tricks.utils.errors import UserError, nearest, one_line
from keras_tricks.utils.import_path import is_import_path, load_object

KINDS = ("digits", "image_folder", "csv", "hf:<name>", "webdataset", "tfds:<name>", "tfrecord",
         "<package.module>:<function>")
log = logging.getLogger("absl")
HANDED_OVER = "python"  # `data.source` of a run whose data were given to `kt.train`


def open_source(name: str, data_dir: str | os.PathLike | None = None, max_bad_images: int = 100,
                train_split: str = "train", validation_split: str | None = None, minival: float = 0.0,
                image_column: str | None = None, label_column: str | None = None, section: typing.Any = None) -> Source:
    """Opens a source by name.

    Args:
        name: `"digits"`, `"image_folder"`, `"csv"`, `"webdataset"`, `"tfrecord"`, `"hf:<name>"`, `"tfds:<name>"`, for
            instance `"tfds:cifar10"`, or an import path such as `"mypackage.mydata:open_source"`.
        data_dir: folder of the images or shards, CSV file, or TFDS' data folder. `digits` does not use it.
        max_bad_images: integer >= 0, number of broken images allowed in a split. With more, reading stops and names
            them.
        train_split, validation_split: names of the splits. For folders, names of the sub-folders.
        minival: float in [0, 1), share of the training images to validate on instead, see `data/sources/minival.py`.
        image_column, label_column: names of the columns with images and labels, for sources that have columns.
        section: the `data` section of a `Recipe`, which a function by import path gets. Defaults to `None`: an object
            with the other arguments as attributes.

    Returns:
        A `Source`.

    Raises:
        UserError: unknown source, missing or empty folder, data set not prepared.
    """
    if name == "digits":
        return digits(minival)
    if name == "image_folder":
        return image_folder(data_dir, max_bad_images, train_split, validation_split, minival)
    if (table := _open_table(name, data_dir, max_bad_images, train_split, validation_split, image_column,
                             label_column, _separator(section), section)) is not None:
        return table.source(minival)
    if name == "tfrecord":
        return tfrecord(data_dir, max_bad_images, minival, getattr(section, "exif", "ignore") == "apply")
    if name.startswith("tfds:"):
        return tfds(name.removeprefix("tfds:"), data_dir, train_split, validation_split, minival, max_bad_images)
    if name == HANDED_OVER:
        raise UserError("`data.source` is \"python\": these data were given to kt.train, and a command cannot read "
                        "them. Call kt.train(recipe, data=...) or kt.train(resume=RUN, data=...), or name a source.")
    if is_import_path(name):
        arguments = dict(source=name, data_dir=data_dir, max_bad_images=max_bad_images, train_split=train_split,
                         validation_split=validation_split, minival=minival, image_column=image_column,
                         label_column=label_column)
        return open_by_import_path(name, types.SimpleNamespace(**arguments) if section is None else section)
    raise UserError(f"`data.source` must be one of {', '.join(KINDS)}. Received: {name!r}.{nearest(name, KINDS)}")


def _separator(section):
    """The text between the labels of an image with several, or `None`."""
    return section.label_separator if getattr(section, "multi_label", False) else None


def check_section(source: Source, data: typing.Any) -> None:
    """Raises `UserError` if the examples of a source are not of the kind that the `data` section of a recipe names.

    Classes that differ only in case or spaces, as `Cat` and `cat`, stay two classes, with a warning.
    """
    for names in look_alikes(source.class_names):
        log.warning("%s has the classes %s: if they are one class, give them one name", source.name, names)
    if data.multi_label and not source.multi_label:
        raise UserError(f"`data.multi_label` is true, and {source.name} gives one label an image: list the images and "
                        "their labels in a CSV file, or leave out data.multi_label.")
    if source.multi_label and not data.multi_label:
        raise UserError(f"{source.name} gives several labels an image: --set data.multi_label=true --set "
                        "loss.name=binary_crossentropy.")
    for split in (source.train, source.validation):
        if split.channels != (3 if data.channels == 1 else data.channels):
            raise UserError(f"{source.name} gives images of {split.channels} channels, and `data.channels` is "
                            f"{data.channels}: set data.channels, data.mean and data.std, or correct the order "
                            "(height, width, channels).")


def _open_table(name, *arguments) -> Table | None:
    """The `Table` of a source that has one, else `None`. The last of the `arguments` is the section or `None`."""
    *arguments, section = arguments
    channels = getattr(section, "channels", 3)
    if name == "csv":
        return csv_table(*arguments, channels)
    if name == "webdataset":
        return webdataset(*arguments, channels)
    if name == "hf" or name.startswith("hf:"):
        return hugging_face(name[3:], *arguments, channels)
    return None


def open_by_import_path(path: str, section: typing.Any) -> Source:
    """The `Source` that a function returns, as a `Source` or as a pair of parts that `as_source` takes.

    Args:
        path: `"package.module:function"`. The function is called with `section`.
        section: the `data` section of a `Recipe`.

    Raises:
        UserError: there is no such function, it raises, or it returns something else.
    """
    function = load_object(path, "data.source")
    if not callable(function):
        raise UserError(f"`data.source` is {path!r}, which is not a function but {type(function).__name__}.")
    try:
        opened = function(section)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"`data.source` is {path!r}, and the function failed: {type(error).__name__}: "
                        f"{one_line(error)}") from error
    source = as_source(opened, section.max_bad_images, argument=path)
    return hold_out(source, section.minival) if section.minival else source


def open_evaluation(data: typing.Any, class_names: Sequence[str] | None = None) -> Split:
    """All labelled images to evaluate a model on. Classes are matched by name; the data may have fewer.

    A folder of class folders, or a table without validation images, is read completely: nothing is held out. If there
    is a validation folder or split, only that is read, with or without a training folder beside it. Other sources give
    their validation split. `data.minival` and `data.train_images` do not matter.

    Args:
        data: the `data` section of a `Recipe`.
        class_names: classes of the model in label order. Defaults to `None`, those of the data.

    Raises:
        UserError: as `open_source`, or a class of the data is not in `class_names`; the message names the nearest one.
    """
    if data.source == "image_folder":
        return evaluation_folder(data.data_dir, class_names, data.max_bad_images, data.validation_split)
    if (table := _open_table(data.source, data.data_dir, data.max_bad_images, data.train_split, data.validation_split,
                             data.image_column, data.label_column, _separator(data), data)) is not None:
        return table.evaluation(class_names)
    source = open_source(data.source, data.data_dir, data.max_bad_images, data.train_split, data.validation_split,
                         section=data.model_copy(update={"minival": 0.0}))
    check_section(source, data)
    if class_names is None or tuple(class_names) == tuple(source.class_names):
        return source.validation
    matched = match_classes(source.class_names, class_names, source.name, "the model")
    return source.validation.relabel(matched, len(class_names))
