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

from keras_tricks.data.image_folder import has_end_markers
from keras_tricks.data.minival import split_off
from keras_tricks.data.source import Split
from keras_tricks.data.tfrecord import HEADER, read_index, record_starts
from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


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
        intact = has_end_markers(content) & tf.io.is_jpeg(content)
        if broken:
            intact &= ~tf.gather(tf.constant([path in broken for path in path_list]), index)
        return tf.cond(intact, lambda: content, _black), tf.gather(labels, index), intact

    return Split(num_examples=len(path_list), fetch=fetch)


def of_records(root, name):
    """The split `name` of a folder written by `tfrecord.pack`. TensorFlow checks the checksum of each record."""
    description = json.loads((root / "dataset.json").read_text())["splits"][name]
    index = read_index(root, name, description)
    files = [root / shard["file"] for shard in description["shards"]]
    starts = record_starts(files, index)
    paths = tf.constant([str(file) for file in files])
    columns = {
        "shard": index["shard"], "start": starts, "label": index["label"],
        "before_image": index["offset"] - starts - HEADER, "image": index["length"],
    }
    columns = {key: tf.constant(column) for key, column in columns.items()}

    def fetch(position):
        example = {key: tf.gather(column, position) for key, column in columns.items()}
        read = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(paths, example["shard"])[None], compression_type="",
            buffer_size=example["before_image"] + example["image"] + 256, byte_offsets=example["start"][None],
        )
        records = tf.data.experimental.from_variant(read, tf.TensorSpec((), tf.string)).take(1).ignore_errors()
        record = records.concatenate(tf.data.Dataset.from_tensors("")).take(1).get_single_element()
        cut = lambda: tf.strings.substr(record, example["before_image"], example["image"])  # noqa: E731
        intact = tf.strings.length(record) > 0
        return tf.cond(intact, cut, _black), example["label"], intact

    return Split(num_examples=len(starts), fetch=fetch)


def _black():
    return tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8))
