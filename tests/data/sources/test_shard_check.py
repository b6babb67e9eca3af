"""Packed data that were damaged or changed: one line each, and `data check` finds what does not fit."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support.image_folders import make_splits

from keras_tricks import cli
from keras_tricks.data import open_source
from keras_tricks.data.check import check
from keras_tricks.data.sources.shard_check import find_wrong_records
from keras_tricks.data.sources.shard_index import file_sha256, read_description, scan_records
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.utils.errors import UserError


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    pack(open_source("image_folder", make_splits(root, count=6)), root / "shards", shard_bytes=500)
    return root / "shards"


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


def change_index(root, **columns):
    """Replaces columns of the training index by functions of them, and its sha256 in `dataset.json`."""
    path = root / "train.index.npz"
    with np.load(path) as file:
        index = dict(file)
    for name, function in columns.items():
        index[name] = function(index[name].copy())
        if index[name] is None:
            del index[name]
    np.savez(path, **index)
    change_description(root, lambda d: d["splits"]["train"].update(index_sha256=file_sha256(path)))


def change_description(root, function):
    path = root / "dataset.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(function(description) or description))


def put(number, value):
    def change(column):
        column[number] = value
        return column

    return change


def swapped(column):
    column[[0, 1]] = column[[1, 0]]
    return column


DESCRIPTIONS = {
    "a list": lambda d: [d],
    "no version": lambda d: d.pop("version") and None,
    "a version of text": lambda d: d.update(version="1"),
    "no name": lambda d: d.pop("name") and None,
    "a number as name": lambda d: d.update(name=3),
    "no classes": lambda d: d.update(class_names=[]),
    "classes as text": lambda d: d.update(class_names="ab"),
    "classes as numbers": lambda d: d.update(class_names=[0, 1]),
    "a class twice": lambda d: d.update(class_names=["a", "a"]),
    "no splits": lambda d: d.pop("splits") and None,
    "splits as list": lambda d: d.update(splits=[]),
    "no validation": lambda d: d["splits"].pop("validation") and None,
    "no shards": lambda d: d["splits"]["train"].update(shards=[]),
    "shards as text": lambda d: d["splits"]["train"].update(shards="train"),
    "a shard as text": lambda d: d["splits"]["train"].update(shards=["train"]),
    "a shard elsewhere": lambda d: d["splits"]["train"]["shards"][0].update(file="../x.tfrecord"),
    "a shard without name": lambda d: d["splits"]["train"]["shards"][0].update(file=""),
    "a size of text": lambda d: d["splits"]["train"]["shards"][0].update(bytes="500"),
    "a checksum of another type": lambda d: d["splits"]["train"].update(index_sha256=5),
}


@pytest.mark.parametrize("change", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_descriptions_with_wrong_parts(copy, change):
    change_description(copy, change)
    with pytest.raises(UserError, match="dataset.json (is not the description of a packed data set|has version)"):
        open_source("tfrecord", copy)


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[" * 100_000, b"\xff\xfe{}",
                                  b'{"version": ' + b"9" * 5000 + b"}"])
def test_descriptions_that_are_not_json(copy, text):
    (copy / "dataset.json").write_bytes(text)
    with pytest.raises(UserError, match="dataset.json (is not the description|cannot be read)"):
        open_source("tfrecord", copy)


def test_a_pipe_as_description(copy):
    (copy / "dataset.json").unlink()
    os.mkfifo(copy / "dataset.json")
    with pytest.raises(UserError, match="dataset.json cannot be read .it is a named pipe"):
        open_source("tfrecord", copy)


INDEXES = {
    "labels above": (dict(label=put(3, 2)), "example 3 has label 2 of 2 classes"),
    "labels below": (dict(label=put(3, -1)), "example 3 has label -1 of 2"),
    "shard": (dict(shard=put(5, 99)), r"example 5 is in shard 99 of \d+"),
    "offset": (dict(offset=put(4, 10**9)), "example 4 is outside its shard"),
    "negative offset": (dict(offset=put(4, -5)), "example 4 is outside its shard"),
    "length": (dict(length=put(2, 10**9)), "example 2 is outside its shard"),
    "no length": (dict(length=put(2, 0)), "example 2 is outside its shard"),
    "one less": (dict(label=lambda c: c[:-1]), "do not have one number for each example"),
    "two dimensions": ({name: lambda c: c[None] for name in ("shard", "start", "offset", "length", "label", "crc32")},
                       "do not have one number for each example"),
    "floats": (dict(offset=lambda c: c.astype("float64")), "are not integers"),
    "texts": (dict(label=lambda c: c.astype(str)), "are not integers"),
    "all less": ({name: lambda c: c[:-1] for name in ("shard", "start", "offset", "length", "label", "crc32")},
                 "11 examples instead of 12"),
    "no labels": (dict(label=lambda c: None), "cannot be read"),
    "objects": (dict(label=lambda c: c.astype(object)), "cannot be read"),
}


@pytest.mark.parametrize("columns, words", INDEXES.values(), ids=INDEXES)
def test_indexes_that_do_not_fit(copy, columns, words):
    change_index(copy, **columns)
    with pytest.raises(UserError, match=f"train.index.npz.*{words}.*again"):
        open_source("tfrecord", copy)


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", b"\x93NUMPY\x01\x00"])
def test_indexes_that_are_not_archives(copy, content):
    (copy / "train.index.npz").write_bytes(content)
    change_description(copy, lambda d: d["splits"]["train"].pop("index_sha256") and None)
    with pytest.raises(UserError, match="train.index.npz cannot be read"):
        open_source("tfrecord", copy)


def test_damage_anywhere_in_an_index_is_one_line(copy):
    """Bits of the archive flipped, without a checksum in the description that would tell."""
    path, content = copy / "train.index.npz", (copy / "train.index.npz").read_bytes()
    change_description(copy, lambda d: d["splits"]["train"].pop("index_sha256") and None)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            open_source("tfrecord", copy)
        except UserError:
            refused += 1
    assert refused > 75


# ---- what only the records tell


def wrong(root):
    return dict(find_wrong_records(root))


def test_what_was_packed_is_right(packed):
    assert wrong(packed) == {}
    assert not [line for line in check("tfrecord", packed) if line.startswith(("wrong", "damaged"))]


WRONG = {
    "label": (dict(label=put(0, 1)), {0: "its label is 0 in the shard and 1 in the index"}),
    "labels swapped": (dict(label=lambda c: c[::-1]), {i: "its label is" for i in range(12)}),
    "checksum": (dict(crc32=put(1, 5)), {1: "its checksum is wrong"}),
    "shorter": (dict(length=lambda c: c - 1), {i: "its image is not where the index says" for i in range(12)}),
    "moved": (dict(offset=lambda c: c - 1), {i: "its image is not where the index says" for i in range(12)}),
    "start": (dict(start=lambda c: np.maximum(c - 1, 0)), {1: "no record starts where the index says"}),
}


@pytest.mark.parametrize("columns, expected", WRONG.values(), ids=WRONG)
def test_wrong_entries_of_the_index_are_found(copy, columns, expected):
    change_index(copy, **columns)
    open_source("tfrecord", copy)  # looks whole
    found = {int(name.rpartition(" ")[2]): why for name, why in wrong(copy).items() if ", example " in name}
    assert expected.keys() <= found.keys() and all(text in found[number] for number, text in expected.items()), found


def test_an_example_that_is_indexed_twice_is_found(copy):
    with np.load(copy / "train.index.npz") as file:
        row = {name: column[3] for name, column in file.items()}
    change_index(copy, **{name: put(4, value) for name, value in row.items()})
    assert wrong(copy) == {"train": "the shards have 12 records, and the index 12 examples of 11 records"}


def test_shards_of_0_1_0_without_starts_are_checked(copy):
    change_index(copy, start=lambda column: None)
    assert wrong(copy) == {}
    change_index(copy, label=swapped)
    assert wrong(copy) == {}  # both of class 0
    change_index(copy, label=put(0, 1))
    assert len(wrong(copy)) == 1


def test_records_of_another_kind_are_found(copy):
    """As a TFRecord file that another program wrote over a shard, of the same size."""
    description = read_description(copy)
    shard = copy / description["splits"]["train"]["shards"][0]["file"]
    (start, length), *_ = scan_records(shard)
    with tf.io.TFRecordWriter(str(copy / "other")) as writer:
        writer.write(b"\xff" * length)
    content = bytearray(shard.read_bytes())
    content[start : start + 16 + length] = (copy / "other").read_bytes()
    shard.write_bytes(content)
    assert re.match("its record cannot be read", wrong(copy)[f"{shard.name}, example 0"])


def test_check_reports_them(copy, capsys):
    change_index(copy, label=lambda c: 1 - c)
    cli.run(cli.parse(["keras-tricks", "data", "check", "tfrecord", "--data-dir", str(copy)]))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong")]
    assert len(lines) == 12 and lines[0].startswith("wrong       train-00000-of-")


# ---- shards that change while they are read


def test_a_shard_that_shrinks_counts_as_broken(copy):
    split = open_source("tfrecord", copy).train
    number = tf.constant(0, tf.int64)
    assert split.fetch(number)[2]
    first = copy / split.paths[0].partition(",")[0]
    first.write_bytes(first.read_bytes()[:20])
    assert not split.fetch(number)[2]
    assert split.bad.reasons[split.paths[0]] == "its checksum is wrong"


def test_a_shard_that_disappears_counts_as_broken(copy):
    split = open_source("tfrecord", copy).train
    (copy / split.paths[0].partition(",")[0]).unlink()
    assert not split.fetch(tf.constant(0, tf.int64))[2]
    assert split.bad.reasons[split.paths[0]] == "No such file or directory"


def test_the_identity_is_that_of_the_images(packed, tmp_path):
    source = open_source("tfrecord", packed)
    shutil.copytree(packed, tmp_path / "elsewhere")
    assert open_source("tfrecord", tmp_path / "elsewhere").identity == source.identity
    images = make_splits(tmp_path / "images", count=6)
    pack(open_source("image_folder", images), tmp_path / "larger")
    assert open_source("tfrecord", tmp_path / "larger").identity == source.identity, "shards of another size"
    (images / "train" / "a" / "a_00.png").write_bytes((images / "train" / "a" / "a_01.png").read_bytes())
    pack(open_source("image_folder", images), tmp_path / "others")
    others = open_source("tfrecord", tmp_path / "others")
    assert others.train.identity != source.train.identity and others.validation.identity == source.validation.identity
