"""A split whose examples a Python function reads by number."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.image_files import quick_content
from keras_tricks.data.sources.names import Names
from keras_tricks.data.sources.source import Split


def read_split(read: Callable, names: Sequence[str], bad: BadImages, labels: np.ndarray | None = None,
               encoded: bool = True, identity: str = "", classes: int | None = None,
               channels: int = 3) -> Split:
    """A split over a function that reads an example.

    An example that cannot be read is added to `bad`. In training the next readable one replaces it.

    Args:
        read: function of an integer in [0, n) that returns an image, or (image, label) if `labels` is `None`. An image
            is a `bytes` object with the content of a file, or a uint8 array `(height, width, channels)`. It raises
            `ValueError` or `OSError` if the image is broken. It is called from several threads.
        names: n different names of the examples.
        bad: `BadImages`.
        labels: int32 `(n,)` or, with several labels an image, uint8 `(n, classes)`. Defaults to `None`: `read` returns
            them.
        encoded: bool, whether images are the content of files. Defaults to `True`.
        identity: as in `Split`.
        classes: integer, number of classes if `read` returns several labels an image, as uint8 `(classes,)`. Defaults
            to `None`: it returns an integer.
        channels: integer, of images that are arrays. Defaults to `3`.
    """
    names = names if isinstance(names, Names) else tuple(names)
    count, dtype, rank = len(names), tf.string if encoded else tf.uint8, 0 if encoded else 3
    if labels is not None and labels.ndim == 2:
        classes = labels.shape[1]
    label_type, label_shape = (tf.int32, ()) if classes is None else (tf.uint8, (classes,))
    bad.total = count

    def example(number):
        image, label = (read(number), labels[number]) if labels is not None else read(number)
        return quick_content(image) if encoded else image, np.asarray(label, label_type.as_numpy_dtype)

    def readable(position):
        """The first readable example at or after a position: (image, label, whether it is that one)."""
        for step in range(count):
            number = (int(position) + step) % count
            if names[number] in bad.reasons:
                continue
            try:
                return *example(number), step == 0
            except OSError as error:
                bad.add(names[number], error.strerror or str(error))
            except ValueError as error:
                bad.add(names[number], str(error))
        bad.check()  # raises: no image is left

    def fetch(position):
        image, label, same = tf.numpy_function(readable, [position], (dtype, label_type, tf.bool), stateful=False)
        image = tf.ensure_shape(image, (None, None, channels)[:rank])
        return image, tf.ensure_shape(label, label_shape), tf.ensure_shape(same, ())

    content = (lambda i: read(i) if labels is not None else read(i)[0]) if encoded else None
    return Split(count, fetch=fetch, paths=names, bad=bad, labels=labels, identity=identity, content=content,
                 multi_label=classes is not None, channels=channels, decoded=not encoded)
