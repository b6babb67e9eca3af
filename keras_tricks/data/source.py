"""Where examples come from. A source knows its classes and two splits; a split can hand out any example by index.

    digits            scikit-learn's 1,797 real 8x8 images, inside the package's requirements: no download
    image_folder      one sub-folder per class; `train/` and `val/` (or `test/`) above them
    tfds:<name>       a TensorFlow Datasets builder found on disk
"""

import dataclasses
import typing

from keras_tricks.errors import UserError, nearest


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


KINDS = ("digits", "image_folder", "tfds:<name>")


def open_source(name, data_dir=None, max_bad_images=100, train_split="train", validation_split=None):
    """Opens a source by name.

    Args:
        name: `"digits"`, `"image_folder"` or `"tfds:<name>"`, for instance `"tfds:cifar10"`.
        data_dir: folder of the images, or TFDS' data folder. Not used by `digits`.
        max_bad_images: integer >= 0, broken images tolerated in a split before reading stops with their names.
        train_split, validation_split: names of the splits (TFDS; for folders the sub-folder names).

    Returns:
        A `Source`.

    Raises:
        UserError: unknown source, folder missing or empty, data set not prepared.
    """
    if name == "digits":
        from keras_tricks.data.digits import digits

        return digits()
    if name == "image_folder":
        from keras_tricks.data.image_folder import image_folder

        return image_folder(data_dir, max_bad_images, train_split, validation_split)
    if name.startswith("tfds:"):
        from keras_tricks.data.tfds import tfds

        return tfds(name.removeprefix("tfds:"), data_dir, train_split, validation_split)
    raise UserError(f"`data.source` must be one of {', '.join(KINDS)}. Received: {name!r}.{nearest(name, KINDS)}")
