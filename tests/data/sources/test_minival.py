"""Minival: which images are held out, in every kind of source, and that none of them is trained on."""

import keras
import numpy as np
import pytest

from keras_tricks import training
from keras_tricks.data import open_source
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.remote_split import remote_split
from keras_tricks.data.sources.tfds import slices
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Data, Recipe, load_recipe
from keras_tricks.utils.errors import UserError


def test_share_and_what_decides():
    names = [f"n01/{i}.jpg" for i in range(20_000)]
    kept, held_out = split_off(names, 0.02)
    assert len(held_out) == pytest.approx(400, abs=4 * 20)  # four standard deviations
    assert sorted([*kept, *held_out]) == list(range(20_000))
    chosen = {names[i] for i in held_out}
    others = [*reversed(names), *(f"n02/{i}.jpg" for i in range(500))]
    again = split_off(others, 0.02)[1]
    assert {others[i] for i in again if others[i].startswith("n01")} == chosen
    assert chosen < {names[i] for i in split_off(names, 0.05)[1]}, "a larger share holds the smaller one"
    assert list(split_off(range(100), 0.02)[1]) == [51, 55], "the same on every machine"


def test_none_left():
    with pytest.raises(UserError, match="`data.minival`=0.02 of 3 training images leaves none to validate on"):
        split_off("abc", 0.02)
    with pytest.raises(UserError, match="leaves none to train on"):
        split_off("a", 0.9999)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 5)):
        for name in "ab":
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                keras.utils.save_img(root / split / name / f"{i}.jpg", rng.integers(0, 255, (8, 8, 3)), scale=False)
    return root


def examples(split):
    """{content of an image: label} of all examples."""
    return {image.numpy(): int(label) for image, label, _ in map(split.fetch, range(split.num_examples))}


def test_image_folder(folder):
    whole, divided = (open_source("image_folder", folder, minival=share) for share in (0.0, 0.2))
    train, held_out = examples(divided.train), examples(divided.validation)
    assert train | held_out == examples(whole.train) and not train.keys() & held_out.keys()
    assert 10 < len(held_out) < 40 and {*held_out.values()} == {0, 1}
    assert all("/train/" in path for path in divided.validation.paths)


def test_packed(folder, tmp_path):
    pack(open_source("image_folder", folder), tmp_path / "shards")
    whole, divided = (open_source("tfrecord", tmp_path / "shards", minival=share) for share in (0.0, 0.2))
    train, held_out = examples(divided.train), examples(divided.validation)
    assert train | held_out == examples(whole.train) and not train.keys() & held_out.keys()
    assert {whole.train.paths.index(path) for path in divided.validation.paths} == {*split_off(range(120), 0.2)[1]}
    data = Data(source="tfrecord", data_dir=str(tmp_path / "shards"), minival=0.2)
    assert examples(remote_split(data, divided)) == train, "workers of a data service read the same"


def test_digits():
    whole, divided = (open_source("digits", minival=share) for share in (0.0, 0.02))
    assert divided.train.num_examples + divided.validation.num_examples == whole.train.num_examples == 1198
    assert 10 < divided.validation.num_examples < 40


def test_slices_of_tfds():
    assert slices("train", 0.02) == ("train[:98%]", "train[98%:]")
    assert slices("train", 0.1) == ("train[:90%]", "train[90%:]")
    with pytest.raises(UserError, match="is 'train.:50%.': give slices"):
        slices("train[:50%]", 0.02)
    with pytest.raises(UserError, match="whole percents.*Received: 0.005"):
        slices("train", 0.005)


def test_a_run_is_validated_on_it():
    recipe = load_recipe("quickstart").replace(data={"minival": 0.1}, train={"deterministic": False})
    ready = training.prepare(recipe)
    assert ready.plan.dataset_size == ready.source.train.num_examples < 1198
    seen = sum(int(np.sum(weights)) for _, _, weights in training.validation_batches(ready))
    assert seen == ready.source.validation.num_examples


def test_a_share_is_a_share():
    with pytest.raises(UserError, match="`data.minival`: input should be less than 1"):
        Recipe(data={"minival": 2.0})
