"""A data set that TensorFlow Datasets has prepared on disk. It is read without network access."""

import hashlib
import logging
import os
import pathlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.names import Names
from keras_tricks.data.sources.read_split import read_split
from keras_tricks.data.sources.source import Source, Split
from keras_tricks.utils.errors import UserError, nearest

RANDOM_ACCESS = "array_record"  # the only format that TFDS 4.9 reads by index
SHUFFLE_BUFFER = 10_000  # encoded images; about 1.1 GB of ImageNet JPEGs
EPOCH_STRIDE = 1_000_003  # separates the seeds of one epoch from those of the next

log = logging.getLogger("absl")


def tfds(name: str, data_dir: str | os.PathLike | None = None, train_split: str = "train",
         validation_split: str | None = None, minival: float = 0.0, max_bad_images: int = 100) -> Source:
    """Opens a prepared data set with an `image` and a `label`.

    One prepared with `--file_format=array_record` is read by index, through `builder.as_data_source`; all other formats
    are streams with a shuffle buffer.

    Args:
        name: `"imagenet2012"`, `"cifar10"`, `"cifar10:3.0.2"`, ...
        data_dir: TFDS' data folder. Defaults to `$TFDS_DATA_DIR`, then `~/tensorflow_datasets`.
        train_split, validation_split: names or slices (`"train[:98%]"`). The validation split defaults to
            `"validation"`, then `"test"`.
        minival: float in [0, 1), share of the training split, taken from its end, to validate on instead.
        max_bad_images: integer >= 0, images that may be broken if they are read by index.

    Raises:
        UserError: TFDS is not installed, the data set is not prepared (the message gives the command), or it has no
            image and label.
    """
    builder = find_builder(name, data_dir)
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise UserError(f"tfds:{name} has the features {', '.join(features)}; image and label are needed.")
    if minival:
        train_split, validation_split = slices(train_split, minival)
    validation_split = validation_split or next((s for s in ("validation", "test") if s in builder.info.splits), None)
    if validation_split is None:
        raise UserError(f"tfds:{name} has only the splits {', '.join(builder.info.splits)}: give "
                        "--set data.validation_split='train[98%:]' and data.train_split='train[:98%]'.")
    return Source(
        name=name.partition(":")[0],
        class_names=_class_names(builder),
        train=_split(builder, train_split, max_bad_images),
        validation=_split(builder, validation_split, max_bad_images),
    )


def _class_names(builder):
    """The names of the classes; `"0"`, `"1"`, ... if the labels are plain integers, which are read for it."""
    label = builder.info.features["label"]
    if label.shape != () or not np.issubdtype(label.np_dtype, np.integer):
        raise UserError(f"tfds:{builder.name} has labels of type {np.dtype(label.np_dtype).name} and shape "
                        f"{label.shape}; one integer for each image is needed.")
    if names := getattr(label, "names", None):
        return tuple(names)
    log.info("tfds:%s does not name its classes: reading all labels to count them", builder.name)
    lowest, highest, total = 0, -1, 0
    for split in builder.info.splits:
        examples = builder.as_dataset(split, decoders={"image": tensorflow_datasets().decode.SkipDecoding()})
        for labels in examples.map(lambda example: example["label"]).batch(1000).as_numpy_iterator():
            lowest, highest, total = min(lowest, labels.min()), max(highest, labels.max()), total + len(labels)
    if lowest < 0 or highest >= total:
        raise UserError(f"tfds:{builder.name} has labels from {lowest} to {highest} for {total:,} images; expected the "
                        "numbers of classes, from 0.")
    return tuple(str(number) for number in range(highest + 1))


def tensorflow_datasets():
    """The module `tensorflow_datasets`. Raises `UserError` if it is not installed."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError("The source tfds:<name> needs tensorflow-datasets: pip install tensorflow-datasets") from error
    return tensorflow_datasets


def slices(split, minival):
    """`("train", 0.02)` -> `("train[:98%]", "train[98%:]")`.

    Raises:
        UserError: `split` is a slice already, or `minival` is not a whole percent.
    """
    first = 100 * (1 - minival)
    if "[" in split or "+" in split:
        raise UserError(f"`data.minival` divides a whole split, and `data.train_split` is {split!r}: give slices as "
                        "`data.train_split` and `data.validation_split` yourself, without `data.minival`.")
    if not 0 < round(first) < 100 or abs(first - round(first)) > 1e-9:
        raise UserError(f"TFDS divides a split by whole percents: `data.minival` must be 0.01 to 0.99 in steps of 0.01."
                        f" Received: {minival}")
    return f"{split}[:{round(first)}%]", f"{split}[{round(first)}%:]"


def data_folder(data_dir):
    """TFDS' data folder: `data_dir`, `$TFDS_DATA_DIR` or `~/tensorflow_datasets`."""
    return pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_builder(name, data_dir):
    """A read-only builder of the prepared files: the newest version in `data_dir`, or the one given after a colon."""
    module = tensorflow_datasets()
    name, _, version = name.partition(":")
    folder = data_folder(data_dir)
    prepared = sorted(folder.glob(f"{name}/**/dataset_info.json"), key=lambda p: _version(p.parent.name))
    if version:
        prepared = [p for p in prepared if p.parent.name == version]
    if not prepared:
        wanted = f"{name}:{version}" if version else name
        raise UserError(f"tfds:{wanted} is not prepared in {folder}. {how_to_prepare(wanted, folder)}")
    return module.builder_from_directory(str(prepared[-1].parent))


def how_to_prepare(name, folder):
    """The command that prepares a data set, for an error message."""
    if name.startswith("imagenet2012"):
        return (f"Put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {folder}/downloads/manual, then run: "
                f"tfds build imagenet2012 --data_dir {folder}")
    return f"Run: tfds build {name} --data_dir {folder}"


def _version(text):
    return [int(p) if p.isdigit() else -1 for p in text.split(".")]


def _split(builder, split, max_bad_images):
    module = tensorflow_datasets()
    from_disk = module.decode.SkipDecoding()
    try:
        num_examples = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        known = ", ".join(builder.info.splits)
        raise UserError(f"tfds:{builder.name} has no split {split!r}; it has {known}, or slices such as 'train[:98%]'."
                        f"{nearest(split, builder.info.splits)}") from error

    def scan(epoch, seed):
        """Reads eight shards at a time in file order, then shuffles with a buffer seeded by (seed, epoch)."""
        reading = module.ReadConfig(interleave_cycle_length=8, add_tfds_id=True, try_autocache=False)
        dataset = builder.as_dataset(split, decoders={"image": from_disk}, shuffle_files=False, read_config=reading)
        if seed is not None:
            buffer = min(SHUFFLE_BUFFER, num_examples)
            # TensorFlow mixes the graph's seed into `seed`. It is fixed here, so that the order depends on `seed` only.
            tf.compat.v1.set_random_seed(1)
            dataset = dataset.shuffle(buffer, seed=seed + epoch * EPOCH_STRIDE, reshuffle_each_iteration=False)
        return dataset.map(_unpack)

    if not num_examples:
        raise UserError(f"The split {split!r} of tfds:{builder.name} has no example: give a larger slice.")
    identity = hashlib.sha256(f"{builder.info.full_name} {split} {num_examples}".encode()).hexdigest()
    if builder.info.file_format is not None and builder.info.file_format.value == RANDOM_ACCESS:
        return _by_index(builder, split, num_examples, identity, max_bad_images)
    return Split(num_examples=num_examples, scan=scan, identity=identity)


def _by_index(builder, split, count, identity, max_bad_images):
    source = builder.as_data_source(split, decoders={"image": tensorflow_datasets().decode.SkipDecoding()})

    def read(number):
        example = source[number]
        return example["image"], int(example["label"])

    names = Names(count, lambda number: f"tfds:{builder.name} {split}, example {number}")
    return read_split(read, names, BadImages(max_bad_images), identity=identity)


def _unpack(example):
    # A hash of the id ("cifar10-train.tfrecord-00000-of-00001__7") is the index that seeds the example's augmentation.
    index = tf.strings.to_hash_bucket_fast(example["tfds_id"], 2**62)
    return index, example["image"], tf.cast(example["label"], tf.int32), tf.constant(True)
