"""Images to evaluate on: all of a folder, or its validation folder, with labels by the names of the classes."""

import pytest
import tensorflow as tf
from support.image_folders import evaluated, make

from keras_tricks.data import open_evaluation, open_source
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Data
from keras_tricks.utils.errors import UserError

CLASSES = ("zebra", "cat", "dog")  # of a model, not sorted


def data(root, **options):
    return Data(source="image_folder", data_dir=str(root), **options)


def labelled(split, classes=CLASSES):
    """{gray value: name of its class}; `make` gives the images of the i-th class 20 (i + 1) and more."""
    values, labels, weights = evaluated(split, len(classes))
    assert (weights == 1).all()
    return {int(value): classes[label] for value, label in zip(values, labels, strict=True)}


def test_all_images_of_a_flat_folder(tmp_path):
    make(tmp_path, ["cat", "dog", "zebra"], count=12)
    split = open_evaluation(data(tmp_path, minival=0.1), CLASSES)
    assert split.num_examples == 36 and open_source("image_folder", tmp_path).validation.num_examples == 3
    assert labelled(split) == {20 * (i + 1) + n: name for i, name in enumerate(["cat", "dog", "zebra"])
                               for n in range(12)}
    assert split.labels.tolist() == [0] * 12 + [1] * 12 + [2] * 12


@pytest.mark.parametrize("names, read", [
    (["val"], "val"), (["test"], "test"), (["Valid"], "Valid"), (["test", "val"], "val"), (["train", "dev"], "dev"),
])
def test_the_validation_folder_alone(tmp_path, names, read):
    for count, name in enumerate(names, 1):
        make(tmp_path / name, ["dog", "cat"], count=count)
    split = open_evaluation(data(tmp_path), CLASSES)
    assert split.num_examples == 2 * (names.index(read) + 1)
    assert all(f"/{read}/" in path for path in split.paths)
    assert set(labelled(split).values()) == {"cat", "dog"}


def test_the_folder_that_is_asked_for_if_there_is_one(tmp_path):
    make(tmp_path / "val", ["dog"], count=1)
    make(tmp_path / "test", ["dog"], count=2)
    assert open_evaluation(data(tmp_path, validation_split="test"), CLASSES).num_examples == 2
    assert open_evaluation(data(tmp_path, validation_split="held_out"), CLASSES).num_examples == 1


def test_a_few_of_the_classes(tmp_path, caplog):
    make(tmp_path, ["dog"], count=3)
    with caplog.at_level("INFO", logger="absl"):
        assert labelled(open_evaluation(data(tmp_path), CLASSES)) == {20: "dog", 21: "dog", 22: "dog"}
    assert f"evaluating 3 images of 1 classes in {tmp_path}" in caplog.text
    assert "no images of 2 classes of the model: zebra, cat" in caplog.text


def test_an_unknown_class_is_refused_with_the_nearest(tmp_path):
    make(tmp_path, ["cat", "dogs"], count=1)
    with pytest.raises(UserError, match='classes that the model does not have: dogs. Did you mean "dog"?'):
        open_evaluation(data(tmp_path), CLASSES)


def test_only_training_images_are_refused(tmp_path):
    make(tmp_path / "train", ["cat"], count=1)
    with pytest.raises(UserError, match="train/ but none of val/.* give --data-dir .*/train"):
        open_evaluation(data(tmp_path), CLASSES)


def test_without_names_those_of_the_data_count(tmp_path):
    make(tmp_path, ["dog", "cat"], count=2)
    assert labelled(open_evaluation(data(tmp_path)), ("cat", "dog")) == {20: "dog", 21: "dog", 40: "cat", 41: "cat"}


def test_broken_files_count_as_such(tmp_path):
    make(tmp_path, ["dog"], count=3)
    (tmp_path / "dog" / "dog_01.png").write_bytes(b"broken")
    split = open_evaluation(data(tmp_path), CLASSES)
    assert evaluated(split, 3)[2].tolist() == [1, 0, 1] and len(split.bad.reasons) == 1


def test_packed_data_are_matched_by_name(tmp_path):
    for name in ("train", "val"):
        make(tmp_path / name, ["cat", "dog"], count=2)
    pack(open_source("image_folder", tmp_path), tmp_path / "shards")
    packed = Data(source="tfrecord", data_dir=str(tmp_path / "shards"))
    assert labelled(open_evaluation(packed, CLASSES)) == {20: "cat", 21: "cat", 40: "dog", 41: "dog"}
    with pytest.raises(UserError, match="does not have: cat, dog"):
        open_evaluation(packed, ("bee", "ant"))


def test_arrays_and_streams_are_relabelled():
    reversed_names = tuple("9876543210")
    split, own = open_evaluation(Data(), reversed_names), open_source("digits").validation
    assert [int(split.fetch(i)[1]) for i in range(20)] == [9 - int(own.fetch(i)[1]) for i in range(20)]
    stream = tf.data.Dataset.from_tensor_slices(([5, 6], [0, 1])).map(lambda i, label: (i, i, label, True))
    split = type(own)(num_examples=2, scan=lambda epoch, seed: stream)
    assert [(int(i), int(label)) for i, _, label, _ in split.relabel([7, 3]).scan(0, None)] == [(5, 7), (6, 3)]
