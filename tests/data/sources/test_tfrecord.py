import json
import os
import shutil

import filelock
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks import cli
from keras_tricks.data import evaluation_batches, open_source, training_batches
from keras_tricks.data.sources import file_access, shard_index
from keras_tricks.data.sources.bad_images import TooManyBadImages
from keras_tricks.data.sources.shard_check import find_damaged_shards
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

DATA = Data(image_size=8, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)
AUGMENT = Augment(crop_area=(0.3, 1.0), rand_augment_layers=1, mixup_alpha=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of JPEGs and one PNG; one training file is broken."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 6)):
        for label in ("ant", "bee"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (12 + i % 3, 14, 3), dtype="uint8")
                Image.fromarray(pixels).save(root / split / label / f"{i:03d}.{'png' if i == 3 else 'jpg'}")
    return root


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "shards"
    pack(open_source("image_folder", folder), target, shard_bytes=4000)
    return target


def batches(split, augment=AUGMENT):
    plan = batch_size_plan(0.1, 8, 2, split.num_examples, mode="decay")
    return [t for pair in training_batches(split, DATA, augment, 2, plan, seed=1).as_numpy_iterator() for t in pair]


def test_order_and_pixels_are_those_of_the_files(folder, packed):
    files, shards = open_source("image_folder", folder), open_source("tfrecord", packed)
    assert shards.class_names == files.class_names == ("ant", "bee")
    assert (shards.train.num_examples, shards.validation.num_examples) == (40, 12)
    for a, b in zip(batches(files.train), batches(shards.train), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(*(evaluation_batches(s.validation, DATA, 2, 5).as_numpy_iterator() for s in (files, shards)),
                    strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_shards_are_tfrecord_files_anyone_can_read(packed):
    description = json.loads((packed / "dataset.json").read_text())
    shards = [shard["file"] for shard in description["splits"]["train"]["shards"]]
    assert len(shards) > 2 and shards[0] == f"train-00000-of-{len(shards):05d}.tfrecord"
    features = {"image/encoded": tf.io.FixedLenFeature((), tf.string),
                "image/class/label": tf.io.FixedLenFeature((), tf.int64)}
    records = tf.data.TFRecordDataset([str(packed / s) for s in shards])
    examples = [tf.io.parse_single_example(r, features) for r in records]
    assert [int(e["image/class/label"]) for e in examples] == [0] * 20 + [1] * 20
    assert tf.io.decode_image(examples[0]["image/encoded"]).shape == (12, 14, 3)


def test_a_flipped_byte_is_named_and_the_next_example_taken(packed, tmp_path):
    root = shutil.copytree(packed, tmp_path / "copy")
    with np.load(root / "train.index.npz") as index:
        start, length = int(index["offset"][7]), int(index["length"][7])
        path = root / json.loads((root / "dataset.json").read_text())["splits"]["train"]["shards"][
            int(index["shard"][7])]["file"]
    content = bytearray(path.read_bytes())
    content[start + length // 2] ^= 1
    path.write_bytes(bytes(content))
    assert [(p, why) for p, why in find_damaged_shards(root)] == [(path, "its sha256 is not that of dataset.json")]
    split = open_source("tfrecord", root).train
    content, label, intact = split.fetch(tf.constant(7, tf.int64))
    following, _, fine = split.fetch(tf.constant(8, tf.int64))
    assert not intact and fine and content == following
    assert split.bad.reasons == {f"{path.name}, example 7": "its checksum is wrong"}
    assert len(batches(split)) == 2 * 10
    with pytest.raises(TooManyBadImages, match="example 7"):
        open_source("tfrecord", root, max_bad_images=0).train.fetch(tf.constant(7, tf.int64))


def test_broken_files_are_not_packed(folder, tmp_path):
    images = shutil.copytree(folder, tmp_path / "images")
    broken = images / "train" / "ant" / "005.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    source = open_source("image_folder", images)
    description = pack(source, tmp_path / "shards")
    assert description["splits"]["train"]["examples"] == 39
    assert list(source.train.bad.reasons) == [str(broken)]


def test_arrays_are_packed_as_png(tmp_path):
    digits = open_source("digits")
    pack(digits, tmp_path / "digits")
    shards = open_source("tfrecord", tmp_path / "digits")
    image, label, _ = shards.train.fetch(tf.constant(11, tf.int64))
    expected, expected_label, _ = digits.train.fetch(tf.constant(11, tf.int64))
    np.testing.assert_array_equal(tf.io.decode_png(image), expected)
    assert label == expected_label and shards.num_classes == 10


def spoil(root, what):
    if what == "no folder":
        shutil.rmtree(root)
    elif what == "not json":
        (root / "dataset.json").write_text("{")
    elif what == "another version":
        (root / "dataset.json").write_text('{"version": 9}')
    elif what == "cut shard":
        shard = next(root.glob("train-00000*"))
        shard.write_bytes(shard.read_bytes()[:-9])
    elif what == "lost shard":
        next(root.glob("train-00001*")).unlink()
    elif what == "index":
        (root / "train.index.npz").write_bytes(b"PK nothing")
    elif what == "pipe":
        (root / "train.index.npz").unlink()
        os.mkfifo(root / "train.index.npz")
    elif what == "encoding":
        description = json.loads((root / "dataset.json").read_text())
        (root / "dataset.json").write_text(json.dumps({**description, "encoding": 3}))


@pytest.mark.parametrize("what, message", [
    ("no folder", "cannot be read.*data pack"), ("not json", "not the description"), ("another version", "version 9"),
    ("cut shard", "train-00000.* bytes instead of"), ("lost shard", "train-00001.*is missing"),
    ("index", "train.index.npz does not fit its shards"), ("pipe", "train.index.npz cannot be read .it is no file"),
    ("encoding", "`encoding` is not a group of settings"),
])
def test_damaged_folders(packed, tmp_path, what, message):
    root = shutil.copytree(packed, tmp_path / "copy")
    spoil(root, what)
    with pytest.raises(UserError, match=message):
        open_source("tfrecord", root)


def test_an_index_may_be_larger_than_an_image(packed, monkeypatch):
    """36 bytes for an image: 30 million have more than 1 GiB, the limit of encoded images."""
    sizes = [(packed / name).stat().st_size for name in ("dataset.json", "train.index.npz")]
    monkeypatch.setattr(file_access, "LARGEST", sum(sizes) // 2)
    assert sizes[0] < sizes[1] and open_source("tfrecord", packed).train.num_examples == 40


@pytest.mark.parametrize("rows", [7, 1000])
def test_a_wrong_row_of_an_index_is_named(packed, monkeypatch, rows):
    monkeypatch.setattr(shard_index, "ROWS", rows)
    description = shard_index.read_description(packed)
    index = shard_index.read_index(packed, description, "train")
    for column, value, message in (("shard", 99, "is in shard 99 of"), ("label", 2, "has label 2"),
                                   ("length", 10**6, "is outside its shard")):
        wrong = index[column].copy()
        wrong[17] = value
        assert f"example 17 {message}" in shard_index._wrong_column({**index, column: wrong}, description, "train")
    assert shard_index._wrong_column(index, description, "train") == ""


def test_an_interrupted_pack_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left"):
        pack(open_source("image_folder", folder), tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []


def test_a_second_pack_into_the_same_folder_is_refused(folder, tmp_path):
    """While the first one writes; a folder that a killed process left is removed."""
    source, other = open_source("image_folder", folder), open_source("digits")
    left = tmp_path / ".shards.4194303.partial"
    left.mkdir()
    with filelock.FileLock(tmp_path / ".shards.lock"):
        with pytest.raises(UserError, match="Another process is writing .*shards: wait for it, or give --output"):
            pack(other, tmp_path / "shards")
        assert left.is_dir() and not (tmp_path / "shards").exists()
    pack(source, tmp_path / "shards")
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_from_the_command_line(folder, tmp_path, capsys):
    def call(*arguments):
        return cli.run(cli.parse(["keras-tricks", *map(str, arguments)]))

    call("data", "pack", "image_folder", "--data-dir", folder, "--output", tmp_path / "shards")
    assert "40 images in 1 shards" in capsys.readouterr().out
    call("data", "check", "tfrecord", "--data-dir", tmp_path / "shards")
    out = capsys.readouterr().out
    assert "2 classes (ant, bee)" in out and "damaged" not in out
    with pytest.raises(SystemExit):
        call("data", "pack", "image_folder", "--data-dir", folder, "--output", tmp_path / "shards")
    assert "exists already" in capsys.readouterr().err
