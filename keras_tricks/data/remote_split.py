"""A training split that another process can read: its `fetch` is a plain graph, without Python functions.

The sources call Python where a file is broken or a record has to be cut out of a shard, and Python functions stay in
their process. Here the same bytes come from TensorFlow's own operations. What looks broken is not judged: `intact` is
false, a black pixel stands in its place, and whoever asked looks at the example again with the source's own `fetch`.

Workers read the files themselves, at the paths the trainer sees: a shared disk, or copies at the same place.
"""

import json
import logging
import pathlib

import numpy as np
import tensorflow as tf

from keras_tricks.data.image_folder import looks_whole
from keras_tricks.data.minival import split_off
from keras_tricks.data.source import Split
from keras_tricks.errors import UserError

log = logging.getLogger("absl")

# The lengths of the keys in a record, see `tfrecord.pack`.
IMAGE_KEY, LABEL_KEY = len("image/encoded"), len("image/class/label")
HEADER, FOOTER = 12, 4  # bytes that TFRecord puts before and after a record


def remote_split(data, source):
    """The training split of a source, readable in another process.

    Args:
        data: the section of a `Recipe` the source was opened with.
        source: `Source`, with the `data.train_images` of its training examples, without those of `data.minival`.

    Raises:
        UserError: a source that is read as a stream (TFDS).
    """
    if data.source == "digits":
        return source.train
    if data.source == "image_folder":
        labels = {name: label for label, name in enumerate(source.class_names)}
        paths = source.train.paths
        others = sum(not path.lower().endswith((".jpg", ".jpeg")) for path in paths)
        if others:
            log.warning("%d of %d training files are no JPEG, and the trainer makes their batches. Workers make all "
                        "batches of data packed with keras-tricks data pack.", others, len(paths))
        return of_files(paths, [labels[pathlib.Path(path).parent.name] for path in paths], source.train.bad.reasons)
    if data.source == "tfrecord":
        packed = of_records(pathlib.Path(data.data_dir).expanduser(), "train")
        if data.minival:
            packed = packed.pick(split_off(np.arange(packed.num_examples), data.minival)[0])
        return packed if data.train_images is None else packed.take(data.train_images)
    raise UserError(f"`data.service` needs examples that can be read by number, and {data.source} is a stream. Pack "
                    f"it: keras-tricks data pack {data.source} --output FOLDER, then --set data.source=tfrecord "
                    "--data-dir FOLDER.")


def of_files(path_list, labels, broken=()):
    """A split of image files. Only JPEG counts as intact: the checksums of a PNG are looked at in Python.

    Args:
        path_list: list of paths.
        labels: list of integers.
        broken: paths known to be broken.
    """
    paths, labels = tf.constant(path_list), tf.constant(labels, tf.int32)

    def fetch(index):
        content = tf.io.read_file(tf.gather(paths, index))
        intact = looks_whole(content) & tf.io.is_jpeg(content)
        if broken:
            intact &= ~tf.gather(tf.constant([path in broken for path in path_list]), index)
        return tf.cond(intact, lambda: content, _black), tf.gather(labels, index), intact

    return Split(num_examples=len(path_list), fetch=fetch)


def of_records(root, name):
    """The split `name` of a folder written by `tfrecord.pack`. TensorFlow checks the checksum of each record."""
    with np.load(root / f"{name}.index.npz", allow_pickle=False) as file:
        index = {column: file[column] for column in ("shard", "offset", "length", "label")}
    shards = json.loads((root / "dataset.json").read_text())["splits"][name]["shards"]
    starts = record_starts(index, [shard["bytes"] for shard in shards], root)
    paths = tf.constant([str(root / shard["file"]) for shard in shards])
    columns = {
        "shard": index["shard"], "start": starts, "label": index["label"],
        "before_image": index["offset"] - starts - HEADER, "image": index["length"],
    }  # fmt: skip
    columns = {key: tf.constant(column) for key, column in columns.items()}

    def fetch(position):
        example = {key: tf.gather(column, position) for key, column in columns.items()}
        read = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(paths, example["shard"])[None], compression_type="",
            buffer_size=example["before_image"] + example["image"] + 256, byte_offsets=example["start"][None],
        )  # fmt: skip
        records = tf.data.experimental.from_variant(read, tf.TensorSpec((), tf.string)).take(1).ignore_errors()
        record = records.concatenate(tf.data.Dataset.from_tensors("")).take(1).get_single_element()
        cut = lambda: tf.strings.substr(record, example["before_image"], example["image"])  # noqa: E731
        intact = tf.strings.length(record) > 0
        return tf.cond(intact, cut, _black), example["label"], intact

    return Split(num_examples=len(starts), fetch=fetch)


def _black():
    return tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8))


def record_starts(index, shard_bytes, root=""):
    """Where each record begins in its shard, int64 `(n,)`, by the lengths of all before it.

    Args:
        index: dict of `shard`, `length` and `label`, integer `(n,)`, in the order of writing.
        shard_bytes: sizes of the shards.
        root: the folder, for the message.

    Raises:
        UserError: the lengths do not add up to the shards.
    """
    lengths = HEADER + record_length(index["length"].astype(np.int64), index["label"].astype(np.int64)) + FOOTER
    starts = np.empty(len(lengths), np.int64)
    for shard, size in enumerate(shard_bytes):
        own = index["shard"] == shard
        ends = np.cumsum(lengths[own])
        if not own.any() or ends[-1] != size:
            raise UserError(f"The index of {root} does not fit its shards: pack the data again.")
        starts[own] = ends - lengths[own]
    return starts


def record_length(image_bytes, label):
    """Bytes of a serialized `tf.train.Example` of an image and a label; integers or int64 `(n,)`, both >= 0."""
    image = _field(_field(_field(image_bytes)))  # a value, in a list, in a feature
    number = _field(_field(_field(_varint(label))))
    # A map is a list of (key, value) messages.
    return _field(_field(_field(IMAGE_KEY) + image) + _field(_field(LABEL_KEY) + number))


def _field(length):
    """Bytes of a field of so many bytes: its tag, its length, itself."""
    return 1 + _varint(length) + length


def _varint(number):
    """Bytes of a number, seven bits in each."""
    return 1 + sum(np.asarray(number, np.int64) >= 1 << bits for bits in range(7, 63, 7))
