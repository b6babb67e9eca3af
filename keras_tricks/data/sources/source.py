"""A data set as the pipeline sees it: classes, two splits, and a function that reads an example."""

import dataclasses
import hashlib
import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.names import Names
from keras_tricks.utils.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Split:
    """A numbered set of examples, read by index or, if the files allow nothing else, as a stream.

    An image is a scalar string (an encoded JPEG or PNG file) or a uint8 tensor `(height, width, channels)`. A label is
    an int32 scalar or, with several labels an image, a uint8 tensor `(classes,)` of 0 and 1.

    Attributes:
        num_examples: integer > 0.
        fetch: graph function `(index) -> (image, label, intact)`. `intact` is a bool scalar, false if the file is
            broken and another example replaces it.
        scan: function `(epoch, seed) -> tf.data.Dataset` of `(index, image, label, intact)`: one epoch, in an order
            that depends on its two int64 arguments only, or in file order if `seed` is `None`. Used if `fetch` is
            `None`.
        paths: file names by index, if examples are files.
        bad: the `BadImages` found so far, or `None` if images cannot be broken.
        labels: int32 `(n,)` or uint8 `(n, classes)`, if they are known without reading the examples.
        identity: text that changes if other examples are in the data, found without reading them. It is that of all
            examples that `take` and `pick` choose from.
        content: function of an index, an integer, that returns the content of an encoded image as `bytes` and raises
            `ValueError` or `OSError` if it cannot; `None` if images are arrays or `paths` are files to read.
        left_out: (`"left out"` or `"not read"`, count, reason and names) of files and folders that are no examples.
        multi_label: bool, whether an image has several labels.
        channels: integer, channels of the images; 3 of encoded ones, whatever the file has.
        decoded: bool, whether a function reads pixels, so that `paths` are names and not files of images.
    """

    num_examples: int
    fetch: typing.Callable | None = None
    scan: typing.Callable | None = None
    paths: Sequence[str] = ()
    bad: typing.Any = None
    labels: np.ndarray | None = dataclasses.field(default=None, compare=False)
    identity: str = ""
    content: typing.Callable | None = dataclasses.field(default=None, compare=False)
    left_out: tuple = ()
    multi_label: bool = False
    channels: int = 3
    decoded: bool = False

    def take(self, count: int) -> "Split":
        """A split of `count` evenly spaced examples. Examples sorted by class stay balanced.

        Raises:
            UserError: the split has fewer examples, or is a stream (TFDS), which takes slices instead.
        """
        if count > self.num_examples:
            raise UserError(f"`data.train_images` is {count:,} but the split has {self.num_examples:,} examples.")
        if self.fetch is None:
            raise UserError("`data.train_images` needs examples that can be read by number. For TFDS take a slice: "
                            '--set data.train_split="train[:20%]".')
        return self.pick(np.arange(count, dtype="int64") * self.num_examples // count)

    def pick(self, numbers: np.ndarray) -> "Split":
        """A split of the examples at these indices, an int64 array `(n,)`. Needs `fetch`."""
        chosen = tf.constant(numbers, "int64")
        return dataclasses.replace(
            self, num_examples=len(numbers), fetch=lambda i: self.fetch(tf.gather(chosen, i)),
            paths=Names(len(numbers), lambda i: self.paths[int(numbers[i])]) if self.paths else (),
            labels=None if self.labels is None else self.labels[numbers],
            content=None if self.content is None else lambda i: self.content(int(numbers[i])),
        )

    def relabel(self, labels: Sequence[int], classes: int = 0) -> "Split":
        """A split of the same examples, with the label `labels[i]` instead of `i`.

        `classes`, the new number of classes, is needed with several labels an image.
        """
        table = np.asarray(labels, "int32")
        if self.multi_label:
            moves = np.zeros((len(table), classes), "int32")
            moves[np.arange(len(table)), table] = 1
            move = lambda label: tf.cast(  # noqa: E731
                tf.linalg.matvec(moves, tf.cast(label, tf.int32), transpose_a=True) > 0, tf.uint8)
            known = None if self.labels is None else (self.labels @ moves > 0).astype("uint8")
        else:
            move = lambda label: tf.gather(tf.constant(table), label)  # noqa: E731
            known = None if self.labels is None else table[self.labels]
        changed = {"labels": known}
        if self.fetch is not None:

            def fetch(index):
                image, label, intact = self.fetch(index)
                return image, move(label), intact

            changed["fetch"] = fetch
        if self.scan is not None:
            rename = lambda index, image, label, intact: (index, image, move(label), intact)  # noqa: E731
            changed["scan"] = lambda epoch, seed: self.scan(epoch, seed).map(rename)
        return dataclasses.replace(self, **changed)


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set: `train` and `validation` splits and the names of its classes, in label order.

    `description` has the kind, shapes and dtypes of data that were handed over, else `""`.
    """

    name: str
    class_names: tuple
    train: Split
    validation: Split
    description: str = ""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        return self.train.multi_label

    @property
    def identity(self) -> str:
        """sha256 of the identities of both splits: another one means other data."""
        return hashlib.sha256(f"{self.train.identity}\n{self.validation.identity}".encode()).hexdigest()


def match_classes(names: Sequence[str], class_names: Sequence[str], data: str, owner: str) -> list[int]:
    """The label in `class_names` of each of `names`.

    Args:
        names: classes of the data.
        class_names: the classes in label order.
        data, owner: what has `names` and `class_names`, for the message.

    Raises:
        UserError: a name that is not in `class_names`.
    """
    labels = {name: label for label, name in enumerate(class_names)}
    unknown = [name for name in names if name not in labels]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UserError(f"{data} has classes that {owner} does not have: {', '.join(unknown[:5])}{more}."
                        f"{nearest(unknown[0], class_names)} {owner} has {', '.join(list(class_names)[:5])}"
                        f"{', ...' if len(class_names) > 5 else ''}.")
    return [labels[name] for name in names]
