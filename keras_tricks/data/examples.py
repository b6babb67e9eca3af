"""Some images of a data set, or those of files: as they are stored, or as the network receives them in evaluation."""

import collections
import concurrent.futures
import os
import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.data.augment.preprocessing import evaluation_image
from keras_tricks.data.sources.channel_files import read_channels
from keras_tricks.data.sources.image_files import check_image
from keras_tricks.data.sources.source import Split


def image_of_file(path: typing.Any, data: typing.Any) -> tf.Tensor:
    """One image file, cropped for evaluation: float32 `(size, size, channels)` in 0-255.

    Args:
        path: file of any format that `data.image_files` reads or, with other channels than grey and colour,
            `data.channel_files`.
        data: the section of a `Recipe`.

    Raises:
        OSError, ValueError, SyntaxError: the file cannot be read, or is not an image.
    """
    content = check_image(path) if data.channels in (1, 3) else read_channels(path, data.channels)
    return evaluation_image(tf.constant(content), data)


def read_files(paths: Sequence[typing.Any], data: typing.Any, size: int) -> typing.Iterator[list[tuple]]:
    """Yields lists of `size` files, the last one shorter, in order. Threads read the next ones in the meantime.

    An entry is `(path, found)`, where `found` is what `image_of_file` returns, an array, or the error that it raises.
    """
    crop = tf.function(lambda content: evaluation_image(content, data), input_signature=[tf.TensorSpec((), tf.string)])

    def read(path):
        try:
            return (crop(check_image(path)) if data.channels in (1, 3) else image_of_file(path, data)).numpy()
        except (OSError, ValueError, SyntaxError) as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = collections.deque()
        for start in range(0, len(paths), size):
            waiting.append([(path, pool.submit(read, path)) for path in paths[start : start + size]])
            if len(waiting) > 1:
                yield [(path, future.result()) for path, future in waiting.popleft()]
        for batch in waiting:
            yield [(path, future.result()) for path, future in batch]


def contents_of(split: Split, numbers: typing.Iterable[int]) -> dict[int, typing.Any]:
    """{index: content} of some examples of a split: encoded images as bytes, others as uint8 pixels."""
    wanted = sorted({int(number) for number in numbers})
    if split.fetch is not None:
        return {number: _as_numpy(split.fetch(np.int64(number))[0]) for number in wanted}
    found, last = {}, max(wanted, default=-1)
    for position, (_, image, *_) in enumerate(split.scan(tf.constant(0, tf.int64), None)):
        if position in wanted:
            found[position] = _as_numpy(image)
        if position >= last:
            break
    return found


def _as_numpy(image):
    value = image.numpy() if hasattr(image, "numpy") else image
    return value if isinstance(value, bytes) else np.asarray(value, "uint8")


def some_images(split: Split, data: typing.Any, count: int) -> np.ndarray:
    """Up to `count` evenly spaced images of a split, of a stream the first ones: float32 `(n, size, size, 3)`."""
    if split.fetch is None:
        stream = split.scan(tf.constant(0, tf.int64), None).take(count)
        return np.stack([evaluation_image(image, data) for _, image, *_ in stream])
    numbers = np.linspace(0, split.num_examples - 1, min(count, split.num_examples)).astype("int64")
    return np.stack([evaluation_image(split.fetch(i)[0], data) for i in numbers])
