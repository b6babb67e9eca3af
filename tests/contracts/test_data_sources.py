"""Every kind of source follows one protocol. The same images give the same batches and weights from all of them, for
any number of processes, and a run continues in mid-epoch with the same bits."""

import functools
import json

import numpy as np
import pytest
from support import sources
from support.batches import assert_same
from support.image_folders import evaluated
from support.tiny_runs import NO_EXPORT, kill_in_the_second_epoch, leave_tensorflow_as_it_was, state, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.cli import plan
from keras_tricks.data import training_batches
from keras_tricks.data.sources import dataset
from keras_tricks.run.given_data import given_data
from keras_tricks.run.own import Handed
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

NAMES = list(sources.SOURCES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sources")


def recipe(section=(), **changes):
    return tiny(data=dict(section), schedule={"batch_size": 20}, train={"checkpoint_steps": 1}, export=NO_EXPORT
                ).replace(**changes)


@pytest.fixture(scope="module")
def opened(folder):
    """Function of a kind that gives its (`Source`, `Recipe`)."""

    @functools.cache
    def open_kind(name):
        data, section = sources.SOURCES[name](folder)
        given = given_data(data)
        own = recipe(section if given is None else given.section)
        return training.open_data(own.data, given and given.source), own

    return open_kind


def batches(source, recipe, part=0, parts=1, first_step=0, epochs=2):
    steps = batch_size_plan(0.1, 20, epochs, source.train.num_examples, mode="decay")
    return list(training_batches(source.train, recipe.data, recipe.augment, 10, steps, 3, first_step=first_step,
                                 part=part, parts=parts).as_numpy_iterator())


@pytest.fixture(scope="module")
def reference(opened):
    return batches(*opened("arrays"))


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol(opened, name):
    source, _ = opened(name)
    assert source.class_names == sources.NAMES and source.num_classes == 10
    assert (source.train.num_examples, source.validation.num_examples) == (120, 40)
    assert len(source.identity) == 64 and source.train.identity
    assert source.train.fetch is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_batches_are_those_of_arrays(opened, reference, name):
    assert_same(batches(*opened(name)), reference)


@pytest.mark.parametrize("name", NAMES)
def test_validation_is_in_order(opened, name):
    source, own = opened(name)
    values, labels, weights = evaluated(source.validation, 10, data=own.data)
    x, y = sources.images_and_labels(sources.VALIDATION)
    assert labels.tolist() == y.tolist() and weights.all()


@pytest.mark.parametrize("name", NAMES)
def test_processes_make_their_parts(opened, reference, name):
    parts = [batches(*opened(name), part=part, parts=2) for part in range(2)]
    for (x, _), *made in zip(reference, *parts, strict=True):
        own = np.concatenate([images for images, _ in made])
        assert sorted(map(bytes, own)) == sorted(map(bytes, x)) and len(own) == 20


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_of_an_epoch(opened, reference, name):
    assert_same(batches(*opened(name), first_step=4), reference[4:])


@pytest.mark.parametrize("name", NAMES)
def test_a_share_of_the_images(opened, name):
    source, own = opened(name)
    split = source.train.take(12)
    assert split.num_examples == 12
    values, _, _ = evaluated(split, 10, data=own.data)
    assert len(values) == 12


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(folder):
    data, section = sources.arrays(folder)
    return kt.train(recipe(section), folder / "whole", data=data, verbose=0)


@pytest.mark.parametrize("name", [n if n == "datasets" else pytest.param(n, marks=pytest.mark.slow)
                                  for n in NAMES if n != "arrays"])
def test_the_weights_are_the_same(trained, folder, tmp_path, name):
    data, section = sources.SOURCES[name](folder)
    run = kt.train(recipe(section), tmp_path / "run", data=data, verbose=0)
    assert run.history["val_loss"] == trained.history["val_loss"]
    for mine, other in zip(run.network.get_weights(), trained.network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.slow  # `run/test_own.py` kills a run on a source of its own by default
@pytest.mark.parametrize("name", ["csv", "arrays", "import path"])
def test_killed_in_mid_epoch_and_resumed_is_uninterrupted(trained, folder, tmp_path, monkeypatch, name):
    data, section = sources.SOURCES[name](folder)
    kill_in_the_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        kt.train(recipe(section), tmp_path / "killed", data=data, verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path / "killed", data=data, verbose=0)
    (tensors, _), (expected, _) = state(tmp_path / "killed"), state(trained.folder)
    assert tensors.keys() == expected.keys() and len(tensors) > 50
    for key in tensors:
        np.testing.assert_array_equal(tensors[key], expected[key], err_msg=key)


def test_a_run_keeps_the_fingerprint_of_its_data(trained, folder):
    section = json.loads((trained.folder / "recipe.json").read_text())["data"]
    assert section["source"] == "python"
    assert section["fingerprint"].startswith("arrays: uint8 (120, 8, 8, 3) and uint8 (40, 8, 8, 3), sha256 ")
    (x, y), validation = sources.arrays(folder)[0]
    with pytest.raises(UserError, match="data.fingerprint was .* now ") as error:
        kt.train(resume=trained.folder, data=((x[::-1], y), validation), verbose=0)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"given to kt.train"):
        kt.train(resume=trained.folder, verbose=0)


def test_the_plan_names_streams(folder, monkeypatch):
    data, section = sources.datasets(folder)
    ready = training.prepare(recipe(section), handed=Handed(data=given_data(data)))
    assert "120 training, 40 validation images, 10 classes\n" in plan.describe(ready)
    monkeypatch.setattr(dataset, "IN_MEMORY", 10_000)
    ready.source = given_data(data).source
    assert "40 validation images, 10 classes, training images read as a stream\n" in plan.describe(ready)


def test_a_wrong_argument():
    with pytest.raises(UserError, match="`data` must be"):
        kt.train(recipe(), data=3)
