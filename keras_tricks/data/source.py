"""What a data set is to the pipeline: classes, two splits, and a way to read an example."""

import dataclasses
import typing

import numpy as np
import tensorflow as tf

from keras_tricks.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Split:
    """A numbered set of examples, read either by index or, where the files only allow that, as a stream.

    An image is a scalar string (an encoded JPEG or PNG file) or a uint8 tensor `(height, width, 3)`; a label is int32.

    Attributes:
        num_examples: integer > 0.
        fetch: graph function `(index) -> (image, label, intact)`. `intact` is a bool scalar, false when the file was
            broken and another example stands in its place.
        scan: function `(epoch, seed) -> tf.data.Dataset` of `(index, image, label, intact)`: one epoch, in an order
            that depends on its two int64 arguments only; in file order when `seed` is `None`. Used if `fetch` is
            `None`.
        paths: file names by index, where examples are files.
        bad: the `BadImages` found so far, or `None` where images cannot be broken.
    """

    num_examples: int
    fetch: typing.Callable | None = None
    scan: typing.Callable | None = None
    paths: tuple = ()
    bad: typing.Any = None

    def take(self, count):
        """A split of `count` of the examples, evenly spaced: examples sorted by class stay balanced.

        Raises:
            UserError: fewer examples than that, or a stream (TFDS), which has slices of its own.
        """
        if count > self.num_examples:
            raise UserError(f"`data.train_images` is {count:,} but the split has {self.num_examples:,} examples.")
        if self.fetch is None:
            raise UserError("`data.train_images` needs examples that can be read by number. For TFDS take a slice: "
                            '--set data.train_split="train[:20%]".')
        return self.pick(np.arange(count, dtype="int64") * self.num_examples // count)

    def pick(self, numbers):
        """A split of the examples with these numbers, an int64 array `(n,)`. Needs `fetch`."""
        chosen = tf.constant(numbers, "int64")
        return dataclasses.replace(
            self, num_examples=len(numbers), fetch=lambda i: self.fetch(tf.gather(chosen, i)),
            paths=tuple(self.paths[i] for i in numbers) if self.paths else (),
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set: `train` and `validation` splits and the names of its classes, in label order."""

    name: str
    class_names: tuple
    train: Split
    validation: Split

    @property
    def num_classes(self):
        return len(self.class_names)
