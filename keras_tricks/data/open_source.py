"""Where examples come from. A source knows its classes and two splits; a split hands out examples.

    digits            scikit-learn's 1,797 real 8x8 images, inside the package's requirements: no download
    image_folder      one sub-folder per class; `train/` and `val/` (or `test/`) above them
    tfds:<name>       a TensorFlow Datasets builder found on disk
    tfrecord          shards written by `keras-tricks data pack`
"""

from keras_tricks.data.digits import digits
from keras_tricks.data.image_folder import image_folder
from keras_tricks.data.tfds import tfds
from keras_tricks.data.tfrecord import tfrecord
from keras_tricks.utils.errors import UserError, nearest

KINDS = ("digits", "image_folder", "tfds:<name>", "tfrecord")


def open_source(name, data_dir=None, max_bad_images=100, train_split="train", validation_split=None, minival=0.0):
    """Opens a source by name.

    Args:
        name: `"digits"`, `"image_folder"`, `"tfrecord"` or `"tfds:<name>"`, for instance `"tfds:cifar10"`.
        data_dir: folder of the images or shards, or TFDS' data folder. Not used by `digits`.
        max_bad_images: integer >= 0, broken images tolerated in a split before reading stops with their names.
        train_split, validation_split: names of the splits (TFDS; for folders the sub-folder names).
        minival: float in [0, 1), share of the training images to validate on instead, see `data/minival.py`.

    Returns:
        A `Source`.

    Raises:
        UserError: unknown source, folder missing or empty, data set not prepared.
    """
    if name == "digits":
        return digits(minival)
    if name == "image_folder":
        return image_folder(data_dir, max_bad_images, train_split, validation_split, minival)
    if name == "tfrecord":
        return tfrecord(data_dir, max_bad_images, minival)
    if name.startswith("tfds:"):
        return tfds(name.removeprefix("tfds:"), data_dir, train_split, validation_split, minival)
    raise UserError(f"`data.source` must be one of {', '.join(KINDS)}. Received: {name!r}.{nearest(name, KINDS)}")
