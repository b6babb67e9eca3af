"""A TensorFlow Datasets builder that is already on disk. The network is never used."""

import os
import pathlib

import tensorflow as tf

from keras_tricks.data.source import Source, Split
from keras_tricks.utils.errors import UserError, nearest

SHUFFLE_BUFFER = 10_000  # encoded images; about 1.1 GB of ImageNet JPEGs
EPOCH_STRIDE = 1_000_003  # seeds of one epoch stay clear of those of the next


def tfds(name, data_dir=None, train_split="train", validation_split=None, minival=0.0):
    """Opens a prepared data set with an `image` and a `label`.

    Args:
        name: `"imagenet2012"`, `"cifar10"`, `"cifar10:3.0.2"`, ...
        data_dir: TFDS' data folder. Defaults to `$TFDS_DATA_DIR`, then `~/tensorflow_datasets`.
        train_split, validation_split: names or slices (`"train[:98%]"`). The validation split defaults to
            `"validation"`, then `"test"`.
        minival: float in [0, 1), the last so many percent of the training split to validate on instead.

    Raises:
        UserError: not installed, not prepared (with the command that prepares it), or without image and label.
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
        class_names=tuple(features["label"].names),
        train=_split(builder, train_split),
        validation=_split(builder, validation_split),
    )


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
    return pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_builder(name, data_dir):
    """A read-only builder over prepared files: the newest version in `data_dir`, or the one named after a colon."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError("The source tfds:<name> needs tensorflow-datasets: pip install tensorflow-datasets") from error
    name, _, version = name.partition(":")
    folder = data_folder(data_dir)
    prepared = sorted(folder.glob(f"{name}/**/dataset_info.json"), key=lambda p: _version(p.parent.name))
    if version:
        prepared = [p for p in prepared if p.parent.name == version]
    if not prepared:
        wanted = f"{name}:{version}" if version else name
        raise UserError(f"tfds:{wanted} is not prepared in {folder}. {how_to_prepare(wanted, folder)}")
    return tensorflow_datasets.builder_from_directory(str(prepared[-1].parent))


def how_to_prepare(name, folder):
    """The next command, in words."""
    if name.startswith("imagenet2012"):
        return (f"Put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {folder}/downloads/manual, then run: "
                f"tfds build imagenet2012 --data_dir {folder}")
    return f"Run: tfds build {name} --data_dir {folder}"


def _version(text):
    return [int(p) if p.isdigit() else -1 for p in text.split(".")]


def _split(builder, split):
    import tensorflow_datasets

    from_disk = tensorflow_datasets.decode.SkipDecoding()
    try:
        num_examples = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        known = ", ".join(builder.info.splits)
        raise UserError(f"tfds:{builder.name} has no split {split!r}; it has {known}, or slices such as 'train[:98%]'."
                        f"{nearest(split, builder.info.splits)}") from error

    def scan(epoch, seed):
        """File order read eight shards at a time, then a shuffle buffer seeded by (seed, epoch)."""
        reading = tensorflow_datasets.ReadConfig(interleave_cycle_length=8, add_tfds_id=True, try_autocache=False)
        dataset = builder.as_dataset(split, decoders={"image": from_disk}, shuffle_files=False, read_config=reading)
        if seed is not None:
            buffer = min(SHUFFLE_BUFFER, num_examples)
            # TensorFlow mixes its own seed into `seed`: fix that of this function, or the order depends on it too.
            tf.compat.v1.set_random_seed(1)
            dataset = dataset.shuffle(buffer, seed=seed + epoch * EPOCH_STRIDE, reshuffle_each_iteration=False)
        return dataset.map(_unpack)

    return Split(num_examples=num_examples, scan=scan)


def _unpack(example):
    # The id ("cifar10-train.tfrecord-00000-of-00001__7") is the example's index for every random number drawn for it.
    index = tf.strings.to_hash_bucket_fast(example["tfds_id"], 2**62)
    return index, example["image"], tf.cast(example["label"], tf.int32), tf.constant(True)
