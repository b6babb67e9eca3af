"""Names of training and validation folders as archives and exporters give them, and layouts that are not clear."""

import os

import numpy as np
import pytest
from support.image_folders import content, evaluated, make, make_splits, trained, value

from keras_tricks.data import open_source
from keras_tricks.data.sources.remote_split import remote_split
from keras_tricks.recipe import Data
from keras_tricks.utils.errors import UserError


@pytest.mark.parametrize("train, validation", [
    ("train", "valid"), ("Train", "Val"), ("training", "validation"), ("train", "dev"), ("TRAIN", "TEST"),
    ("Training", "Testing"), ("train", "Validation"),
])
def test_names_of_splits(tmp_path, train, validation):
    make(tmp_path / train, ["a", "b"], count=3)
    make(tmp_path / validation, ["a", "b"], count=2)
    source = open_source("image_folder", tmp_path)
    assert (source.train.num_examples, source.validation.num_examples) == (6, 4)
    assert source.class_names == ("a", "b")


def test_what_is_read_is_logged_and_what_is_not(tmp_path, caplog):
    make(tmp_path / "Train", ["a"])
    for name in ("val", "test", "__MACOSX"):
        make(tmp_path / name, ["a"])
    with caplog.at_level("INFO", logger="absl"):
        open_source("image_folder", tmp_path)
    assert f"training images: {tmp_path}/Train, validation images: {tmp_path}/val" in caplog.messages
    assert f"{tmp_path}: not read: __MACOSX/, test/" in caplog.messages


def test_everything_left_out_is_logged(tmp_path, caplog):
    make_splits(tmp_path)
    (tmp_path / "train" / "__MACOSX").mkdir()
    (tmp_path / "train" / ".git").mkdir()
    (tmp_path / "train" / "empty").mkdir()
    os.mkfifo(tmp_path / "train" / "a" / "pipe.jpg")
    with caplog.at_level("INFO", logger="absl"):
        assert open_source("image_folder", tmp_path).class_names == ("a", "b")
    root = tmp_path / "train"
    assert {f"{root}: 1 left out: a folder of the operating system: {root}/__MACOSX",
            f"{root}: 1 left out: a hidden folder: {root}/.git", f"{root}: 1 left out: an empty folder: {root}/empty",
            f"{root}: 1 left out: a named pipe: {root}/a/pipe.jpg"} == set(caplog.messages)


def test_images_in_sub_folders_of_classes(tmp_path, caplog):
    make(tmp_path / "train" / "a", ["x", "y"], count=2)
    make(tmp_path / "train", ["b"], count=2)
    make(tmp_path / "val" / "b", ["z"], count=1)
    make(tmp_path / "val", ["a"], count=1)
    with caplog.at_level("INFO", logger="absl"):
        source = open_source("image_folder", tmp_path)
    assert source.class_names == ("a", "b") and source.train.labels.tolist() == [0] * 4 + [1] * 2
    assert "4 images are in sub-folders of class folders, such as x/, y/" in caplog.text
    seen = [(int(v), int(label)) for images, labels in trained(source.train, 2, 2)
            for v, label in zip(value(images), labels.argmax(axis=1), strict=True)]
    assert sorted(seen) == [(20, 0), (20, 1), (21, 0), (21, 1), (40, 0), (41, 0)]
    remote = remote_split(Data(source="image_folder", data_dir=str(tmp_path)), source)
    assert [int(remote.fetch(i)[1]) for i in range(6)] == [0, 0, 0, 0, 1, 1]


def test_minival_goes_by_the_whole_name(tmp_path):
    make_splits(tmp_path, count=30)
    flat = open_source("image_folder", tmp_path, minival=0.2)
    (tmp_path / "train" / "a").rename(tmp_path / "moved")
    (tmp_path / "train" / "a").mkdir()
    (tmp_path / "moved").rename(tmp_path / "train" / "a" / "sub")
    nested = open_source("image_folder", tmp_path, minival=0.2)
    chosen = [{path.split("/train/")[1] for path in source.validation.paths} for source in (flat, nested)]
    assert {name for name in chosen[0] if name[0] == "b"} == {name for name in chosen[1] if name[0] == "b"}
    assert {name for name in chosen[0] if name[0] == "a"} != {name.replace("sub/", "") for name in chosen[1]
                                                              if name[0] == "a"}


def test_validation_without_some_classes_keeps_their_labels(tmp_path, caplog):
    make(tmp_path / "train", ["a", "b", "c"], count=2)
    make(tmp_path / "val", ["c", "a"], count=1)
    (tmp_path / "val" / "empty").mkdir()
    with caplog.at_level("INFO", logger="absl"):
        source = open_source("image_folder", tmp_path)
    values, labels, _ = evaluated(source.validation, 3)
    assert dict(zip(values.tolist(), labels.tolist(), strict=True)) == {20: 2, 40: 0}
    assert f"{tmp_path}/val has no images of 1 classes of {tmp_path}/train: b" in caplog.messages


def test_a_class_named_like_a_split_among_others(tmp_path):
    """CIFAR-100 and COCO have a class "train"."""
    make(tmp_path, ["bus", "car", "train"], count=10)
    assert open_source("image_folder", tmp_path).class_names == ("bus", "car", "train")


def test_classes_without_an_image_to_validate_on_are_logged(tmp_path, caplog):
    make(tmp_path, ["a"], count=10)
    make(tmp_path, ["b"], count=9)
    with caplog.at_level("INFO", logger="absl"):
        assert open_source("image_folder", tmp_path).validation.num_examples == 1
    assert "no image of 1 classes is held out to validate on: b" in caplog.text


REFUSED = {
    "no train": (lambda r: make(r / "val", ["a", "b"]), ["has val/ but no train/ to train on"]),
    "val and test of images": (lambda r: make(r, ["val", "test"]), ["has test/, val/ but no train/"]),
    "other names": (lambda r: [make(r / name, ["a"]) for name in ("Train_images", "Test_images")],
                    ["has Test_images/, Train_images/ but no train/", "data.train_split=NAME"]),
    "no class folders": (lambda r: make(r, ["train", "test"]), ["train has 4 images but no class folder"]),
    "an archive's folder": (lambda r: make(r / "photos", ["cat", "dog"]),
                            ["one class folder, photos/, with the sub-folders cat/, dog/", "--data-dir", "/photos"]),
    "case only": (lambda r: [make(r / name, ["a"]) for name in ("Train", "TRAIN", "val")],
                  ["TRAIN/, Train/", "rename"]),
}


@pytest.mark.parametrize("layout, words", REFUSED.values(), ids=REFUSED)
def test_layouts_that_are_not_clear(tmp_path, layout, words):
    layout(tmp_path)
    with pytest.raises(UserError) as error:
        open_source("image_folder", tmp_path)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("options, words", [
    ({"train_split": "trian"}, ["`data.train_split` is 'trian'", 'Did you mean "train"?']),
    ({"validation_split": "vall"}, ["`data.validation_split` is 'vall'", 'Did you mean "val"?']),
])
def test_a_split_that_is_asked_for_and_missing(tmp_path, options, words):
    make_splits(tmp_path)
    with pytest.raises(UserError) as error:
        open_source("image_folder", tmp_path, **options)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_split_by_name_in_any_case(tmp_path):
    make(tmp_path / "Split1", ["a"], count=3)
    make(tmp_path / "split2", ["a"], count=2)
    source = open_source("image_folder", tmp_path, train_split="split1", validation_split="Split2")
    assert (source.train.num_examples, source.validation.num_examples) == (3, 2)


# ---- identity


def test_the_identity_of_a_source(tmp_path):
    make_splits(tmp_path / "one")
    make_splits(tmp_path / "two")
    one, two = (open_source("image_folder", tmp_path / name) for name in ("one", "two"))
    assert one.identity == two.identity and len(one.identity) == 64
    assert one.train.take(4).identity == one.train.identity
    (tmp_path / "two" / "val" / "a" / "a_00.png").write_bytes(b"another")
    changed = open_source("image_folder", tmp_path / "two")
    assert changed.train.identity == one.train.identity and changed.validation.identity != one.validation.identity
    assert changed.identity != one.identity


def test_the_identity_of_digits():
    identities = {open_source("digits").identity for _ in range(2)}
    assert len(identities) == 1
    assert open_source("digits", minival=0.1).train.identity == open_source("digits").train.identity


# ---- formats


FILES = {"0.webp": "WEBP", "1.gif": "GIF", "2.tif": "TIFF", "3.TIFF": "TIFF", "4.jfif": "JPEG", "5": "JPEG",
         "6": "WEBP", "7.jpg": "GIF", "8.Bmp": "BMP", "9.ppm": "PPM"}


def test_formats_of_pillow_are_read_and_not_broken(tmp_path):
    for split in ("train", "val"):
        for label, gray in (("a", 20), ("b", 120)):
            (tmp_path / split / label).mkdir(parents=True)
            for name, kind in FILES.items():
                (tmp_path / split / label / name).write_bytes(content(gray + 10 * int(name[0]), kind))
    source = open_source("image_folder", tmp_path, max_bad_images=0)
    values, labels, weights = evaluated(source.validation, 2)
    expected = [*range(20, 120, 10), *range(120, 220, 10)]
    np.testing.assert_allclose(values, expected, atol=2)
    assert weights.all() and labels.tolist() == [0] * 10 + [1] * 10
    seen = sorted(v for images, _ in trained(source.train, 2) for v in value(images))
    np.testing.assert_allclose(seen, expected, atol=2)
    assert not source.train.bad.reasons and not source.validation.bad.reasons
