"""Data sets of Hugging Face `datasets`, made on disk by the real package."""

import os

import numpy as np
import pytest
from support.image_folders import content, evaluated, make_splits

os.environ.setdefault("HF_HUB_OFFLINE", "1")
datasets = pytest.importorskip("datasets")

from keras_tricks.data import open_source  # noqa: E402
from keras_tricks.utils.errors import UserError  # noqa: E402

FEATURES = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])}


def part(count, start=20, **features):
    features = {**FEATURES, **features}
    values = {"image": [{"bytes": content(start + i), "path": None} for i in range(count)]}
    for name, feature in features.items():
        if name not in values:
            text = getattr(feature, "dtype", "") == "string"
            values[name] = [f"n{i % 2}" if text else i % 2 for i in range(count)]
    return datasets.Dataset.from_dict({name: values[name] for name in features if features[name] is not None},
                                      features=datasets.Features({k: f for k, f in features.items() if f is not None}))


def saved(folder, **splits):
    datasets.DatasetDict(splits).save_to_disk(folder)
    return f"hf:{folder}"


def held(split):
    values, labels, _ = evaluated(split, 2)
    return dict(zip(values.tolist(), labels.tolist(), strict=True))


def test_splits_and_classes(tmp_path):
    source = open_source(saved(tmp_path / "a", train=part(12), validation=part(3, 60), test=part(4, 80)))
    assert source.class_names == ("dog", "cat")
    assert held(source.train) == {20 + i: i % 2 for i in range(12)}
    assert held(source.validation) == {60: 0, 61: 1, 62: 0}
    assert sorted(held(open_source(f"hf:{tmp_path / 'a'}", validation_split="test").validation)) == [80, 81, 82, 83]
    assert open_source("hf", tmp_path / "a").identity == source.identity
    assert source.identity != open_source(saved(tmp_path / "b", train=part(13), validation=part(3, 60))).identity


def test_a_single_split_is_divided(tmp_path):
    part(20).save_to_disk(tmp_path / "one")
    source = open_source(f"hf:{tmp_path / 'one'}")
    assert sorted(held(source.validation)) == [38, 39] and source.train.num_examples == 18


def test_shuffled_and_selected_examples(tmp_path):
    chosen = part(20).select([3, 1, 2, 7])
    source = open_source(saved(tmp_path / "a", train=part(4), test=chosen))
    assert evaluated(source.validation, 2)[0].tolist() == [23, 21, 22, 27]


def test_images_in_files_and_broken_ones(tmp_path):
    make_splits(tmp_path / "photos")
    source = open_source(f"hf:{tmp_path / 'photos'}", tmp_path / "cache")
    assert source.class_names == ("a", "b") and sorted(held(source.train)) == [*range(20, 24), *range(40, 44)]
    (tmp_path / "photos" / "val" / "a" / "a_02.png").unlink()
    _, _, weights = evaluated(source.validation, 2)
    assert weights.sum() == 7 and list(source.validation.bad.reasons.values()) == ["No such file or directory"]


def test_missing_images(tmp_path):
    own = datasets.Dataset.from_dict({"image": [{"bytes": content(50), "path": None}, None], "label": [0, 1]},
                                     features=datasets.Features(FEATURES))
    source = open_source(saved(tmp_path / "a", train=part(4), test=own))
    assert evaluated(source.validation, 2)[2].tolist() == [1, 0]
    assert list(source.validation.bad.reasons.values()) == ["the image is missing"]


@pytest.mark.parametrize("feature, names", [("int64", ("0", "1")), ("string", ("n0", "n1"))])
def test_labels_without_names(tmp_path, feature, names):
    parts = {name: part(4, label=datasets.Value(feature)) for name in ("train", "test")}
    source = open_source(saved(tmp_path / "a", **parts))
    assert source.class_names == names and source.train.labels.tolist() == [0, 1, 0, 1]


def test_columns_by_name(tmp_path):
    columns = {"label": None, "fine": datasets.ClassLabel(names=["a", "b"]),
               "coarse": datasets.ClassLabel(names=["x", "y"])}
    name = saved(tmp_path / "a", train=part(4, **columns), test=part(4, **columns))
    assert open_source(name, label_column="coarse").class_names == ("x", "y")
    with pytest.raises(UserError, match="has several: fine, coarse. .*data.label_column=NAME"):
        open_source(name)


@pytest.mark.parametrize("features, options, words", [
    ({"image": None}, {}, "has no column of images. Its columns: label .ClassLabel.*data.image_column"),
    ({}, {"image_column": "images"}, "has no column of images named 'images'.*Did you mean \"image\""),
    ({}, {"label_column": "lable"}, "has no column of labels named 'lable'.*Did you mean \"label\""),
    ({}, {"validation_split": "tset"}, "'tset'.*has the splits train, test.*Did you mean \"test\""),
])
def test_what_is_missing_is_one_line(tmp_path, features, options, words):
    name = saved(tmp_path / "a", train=part(4, **features), test=part(4, **features))
    with pytest.raises(UserError, match=words) as error:
        open_source(name, **options)
    assert "\n" not in str(error.value)


def test_labels_that_are_missing(tmp_path):
    unlabelled = datasets.Dataset.from_dict({"image": part(3)["image"][:], "label": [0, -1, 1]},
                                            features=datasets.Features(FEATURES))
    with pytest.raises(UserError, match=r"1 examples of test have no label, such as test\[1\]"):
        open_source(saved(tmp_path / "a", train=part(4), test=unlabelled))


@pytest.mark.parametrize("name", ["hf:{}/none", "hf:{}", "hf", "hf:user/none", "hf:"])
def test_no_data_set_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match="hf") as error:
        open_source(name.format(tmp_path))
    assert "\n" not in str(error.value)


def test_a_folder_of_parquet_files_offline(tmp_path):
    (tmp_path / "files").mkdir()
    for name in ("train", "test"):
        part(4).to_parquet(tmp_path / "files" / f"{name}.parquet")
    source = open_source(f"hf:{tmp_path / 'files'}", tmp_path / "cache")
    assert np.array_equal(source.train.labels, [0, 1, 0, 1]) and source.class_names == ("dog", "cat")
