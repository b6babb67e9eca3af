"""Makes a source of data that are handed over: arrays, `tf.data.Dataset`s, data sources of the user."""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.arrays import check_arrays, split_of_arrays
from keras_tricks.data.sources.data_source import class_names_of, is_data_source, source_split
from keras_tricks.data.sources.dataset import dataset_split
from keras_tricks.data.sources.label_sets import is_one_hot
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.source import Source, Split, match_classes
from keras_tricks.utils.errors import UserError

FORMS = ("((x, y), (x_val, y_val)), (train_dataset, validation_dataset), two data sources, or a "
         "keras_tricks.data.Source")


def as_source(data: typing.Any, max_bad_images: int = 100, class_names: Sequence[str] | None = None,
              argument: str = "data") -> Source:
    """The `Source` of a training and a validation part.

    Args:
        data: a pair whose parts are `(images, labels)`, see `arrays.check_arrays`; `tf.data.Dataset`s, see
            `dataset.dataset_split`; or `DataSource`s. A `Source` is returned as it is.
        max_bad_images: integer >= 0, of data sources.
        class_names: names in label order, of parts whose labels are integers. Defaults to
            `None`: "0", "1", ...
        argument: what the user set, for messages. Defaults to `"data"`.

    Raises:
        UserError: something else, or validation classes that are not trained.
    """
    if isinstance(data, Source):
        return data
    if not (isinstance(data, tuple | list) and len(data) == 2):
        what = f"{type(data).__name__} of {len(data)}" if isinstance(data, tuple | list) else type(data).__name__
        raise UserError(f"`{argument}` must be {FORMS}. Received: {what}.")
    train, validation = (_part(part, max_bad_images, f"{argument}[{i}]") for i, part in enumerate(data))
    _check_label_sets(train, validation, argument)
    names = _class_names(train, validation, class_names, argument)
    splits = [_relabelled(part, names, f"{argument}[{i}]") for i, part in enumerate((train, validation))]
    kinds = train.kind if train.kind == validation.kind else f"{train.kind}, {validation.kind}"
    sizes = " and ".join(part.description for part in (train, validation))
    return Source(argument, names, *splits, description=f"{kinds}: {sizes}")


@dataclasses.dataclass(frozen=True)
class _Part:
    """A split with labels in `names`; or, if that is `None`, in `range(count)`."""

    split: Split
    kind: str
    description: str
    names: tuple | None
    count: int = 0


def _part(part, max_bad_images, where):
    if isinstance(part, tf.data.Dataset):
        split, count = dataset_split(part, where)
        how = "" if split.fetch is not None else " as a stream"
        return _Part(split, "tf.data", f"{split.num_examples} examples{how}", None, count)
    if isinstance(part, tuple | list) and len(part) == 2:
        arrays, names, count = check_arrays(*part, where), None, 0
        labels = arrays.labels
        if labels.ndim == 2:
            count = labels.shape[1]
        elif labels.dtype.kind in "iu":
            count = int(labels.max()) + 1
        else:
            unique, labels = np.unique(labels.astype(str), return_inverse=True)
            names = tuple(unique.tolist())
        return _Part(split_of_arrays(arrays, labels, where), "arrays", arrays.description, names, count)
    if is_data_source(part):
        split = source_split(part, max_bad_images, where)
        return _Part(split, type(part).__qualname__, f"{split.num_examples} examples", class_names_of(part, where))
    raise UserError(f"`{where}` must be (images, labels), a tf.data.Dataset or a data source with __len__, __getitem__ "
                    f"and class_names. Received: {type(part).__name__}.")


def _check_label_sets(train, validation, argument):
    """Raises `UserError` for parts of which only one has several labels an image, and for one-hot labels."""
    several = [part.split.labels for part in (train, validation) if part.split.multi_label]
    if several and all(labels is not None and is_one_hot(labels) for labels in several):
        raise UserError(f"`{argument}`: every image has one label, and labels of the shape {several[0].shape} are for "
                        "images with several. Convert one-hot labels with y.argmax(axis=-1).")
    if train.split.multi_label != validation.split.multi_label:
        raise UserError(f"`{argument}`: one part has several labels an image (n, classes), and the other has one.")
    if several and train.names is None and train.count != validation.count:
        raise UserError(f"`{argument}[0]` has labels of {train.count} classes, and `{argument}[1]` of "
                        f"{validation.count}.")


def _class_names(train, validation, given, argument):
    """The class names of both parts."""
    if (train.names is None) != (validation.names is None) and given is None:
        raise UserError(f"`{argument}`: one part has class names and the other has numbers. Use one of them in both.")
    if train.names is not None:
        return tuple(given) if given is not None else train.names
    if given is None and validation.count > train.count:
        raise UserError(f"`{argument}[1]` has labels up to {validation.count - 1}, and `{argument}[0]` has 0 to "
                        f"{train.count - 1}: validation images of classes that are not trained.")
    count = max(train.count, validation.count)
    if given is not None and len(given) < count:
        raise UserError(f"`class_names` has {len(given)} names, and the labels go up to {count - 1}.")
    return tuple(given) if given is not None else tuple(str(number) for number in range(count))


def _relabelled(part, names, where):
    if part.names is None or part.names == tuple(names):
        return part.split
    return part.split.relabel(match_classes(part.names, names, where, "training"), len(names))


def hold_out(source: Source, share: float) -> Source:
    """The source with `share` of the training images to validate on instead, chosen by their number.

    Raises:
        UserError: the training images are read as a stream.
    """
    if source.train.fetch is None:
        raise UserError("`data.minival` needs training images that are read by number, and these are a stream.")
    kept, held_out = split_off(range(source.train.num_examples), share)
    return dataclasses.replace(source, train=source.train.pick(kept), validation=source.train.pick(held_out))
