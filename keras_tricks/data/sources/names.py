"""Names of many examples in little memory: a `Sequence` that makes each name when it is asked for.

A Python string takes about 100 bytes, and a data set has millions of names, which are needed for broken images only.
"""

import os
import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf


class Names(Sequence):
    """`count` names, each made by `name_of(number)`.

    Equal to any sequence of the same names. A slice is a tuple.
    """

    def __init__(self, count: int, name_of: Callable[[int], str]) -> None:
        self.count, self.name_of = count, name_of

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: typing.Any) -> typing.Any:
        if isinstance(number, slice):
            return tuple(self.name_of(i) for i in range(*number.indices(self.count)))
        place = int(number) + (self.count if number < 0 else 0)
        if not 0 <= place < self.count:
            raise IndexError(f"{number} is not in [0, {self.count})")
        return self.name_of(place)

    def __iter__(self) -> Iterator[str]:
        return map(self.name_of, range(self.count))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((self.count, self[0] if self.count else ""))

    def pick(self, numbers: np.ndarray) -> "Names":
        """The names at these indices, an int array `(n,)`."""
        return Names(len(numbers), lambda i: self.name_of(int(numbers[i])))


class Paths(Names):
    """Paths of files. Each folder is kept once, and file names as one text: about 16 bytes and the name for a file.

    Args:
        paths: paths, in order.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        ids, text = {}, bytearray()
        folder_of, ends = np.empty(len(paths), "int32"), np.zeros(len(paths) + 1, "int64")
        for number, path in enumerate(paths):
            folder, slash, name = path.rpartition("/")
            folder_of[number] = ids.setdefault(folder + slash, len(ids))
            text += os.fsencode(name)
            ends[number + 1] = len(text)
        self.folders, self.folder_of, self.text, self.ends = tuple(ids), folder_of, bytes(text), ends
        super().__init__(len(paths), self._path)

    def _path(self, number):
        name = self.text[self.ends[number] : self.ends[number + 1]]
        return self.folders[self.folder_of[number]] + os.fsdecode(name)

    def in_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A graph function of an index, an integer scalar, that returns the path, a string scalar."""
        folders = tf.constant([os.fsencode(folder) for folder in self.folders], tf.string)
        folder_of, text, ends = tf.constant(self.folder_of), tf.constant(self.text), tf.constant(self.ends)

        def path(index):
            start = tf.gather(ends, index)
            name = tf.strings.substr(text, start, tf.gather(ends, index + 1) - start)
            return tf.gather(folders, tf.gather(folder_of, index)) + name

        return path


def broken_in_graph(names: Sequence[str], broken: typing.Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function of an index that returns whether its name is among the `broken`, a bool scalar."""
    numbers = [i for i, name in enumerate(names) if name in broken] if broken else []
    found = tf.constant(numbers, tf.int64)
    return lambda index: tf.reduce_any(found == tf.cast(index, tf.int64))
