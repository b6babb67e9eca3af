"""Progressive resizing: sizes by epoch, pixels, one static trace for each size, exact resume, what is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from support.tiny_runs import (  # noqa: F401
    NO_EXPORT,
    assert_same_end,
    kill_in_the_second_epoch,
    leave_tensorflow_as_it_was,
    summary,
    tiny,
)

import keras_tricks as kt
from keras_tricks import cli
from keras_tricks.data import open_source, training_batches
from keras_tricks.data.progressive_resizing import spans_of_sizes
from keras_tricks.training import plan_of_recipe
from keras_tricks.utils.errors import UserError

SMALLER = [[8, 1], [10, 2]]


def resized(**changes):
    """8, 10 and 12 pixels in one epoch each."""
    data = {"image_size": 12, "progressive_resizing": SMALLER, "train_images": 512}
    return tiny(data=data, schedule={"epochs": 3}, export=NO_EXPORT).replace(**changes)


def test_the_size_of_each_epoch():
    assert spans_of_sizes(224, [], 5) == [(range(5), 224)]
    assert spans_of_sizes(224, [(128, 2), (160, 3)], 5) == [(range(2), 128), (range(2, 3), 160), (range(3, 5), 224)]


@pytest.mark.parametrize("smaller", [[(128, 3), (160, 2)], [(128, 2), (160, 2)], [(128, 5)], [(128, 9)]], ids=str)
def test_epochs_that_do_not_ascend_or_leave_none_are_refused(smaller):
    with pytest.raises(UserError, match=r"ascending epochs below schedule.epochs=5.*Received: \[\[128"):
        spans_of_sizes(224, smaller, 5)


def test_the_images_are_those_of_a_run_of_that_size():
    recipe = resized()
    source = open_source(recipe.data.source, None, 0)
    split = source.train.take(512)
    plan = plan_of_recipe(recipe, split.num_examples, 1)

    def batches(data, epoch):
        made = training_batches(split, data, recipe.augment, 10, plan, 3, range(epoch, epoch + 1))
        assert made.element_spec[0].shape[1:3] == (data_size, data_size)
        return list(made.as_numpy_iterator())

    for epoch, data_size in enumerate((8, 10, 12)):
        fixed = recipe.data.model_copy(update={"image_size": data_size, "progressive_resizing": ()})
        for found, expected in zip(batches(recipe.data, epoch), batches(fixed, epoch), strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(folder of a run, sizes of the images for which its network was traced in training)."""
    traced, call = [], kt.layers.DropPath.call

    def recorded(self, inputs, training=None):
        if training:
            traced.append(inputs.shape)
        return call(self, inputs, training=training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kt.layers.DropPath, "call", recorded)
        run = kt.train(resized(), tmp_path_factory.mktemp("resized") / "run", verbose=0)
    return run.folder, traced


def test_one_static_trace_for_each_size(uninterrupted):
    folder, traced = uninterrupted
    sides = [shape[1] for shape in traced]
    assert None not in sides
    counts = [sides.count(side // 2) for side in (8, 10, 12)]  # of the second stage
    assert counts[0] > 0 and len(set(counts)) == 1
    assert [int(row["step"]) for row in summary(folder)] == [4, 8, 12]


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_resumes_to_the_same_bits(uninterrupted, tmp_path, monkeypatch):
    kill_in_the_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        kt.train(resized(), tmp_path / "run", verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path / "run", verbose=0)
    assert_same_end(uninterrupted[0], tmp_path / "run")


@pytest.mark.slow
def test_two_replicas_equal_one_and_a_growing_batch(tmp_path):
    schedule = {"epochs": 3, "batch_size": 64, "decay": "step", "milestones": (1,), "factor": 0.5,
                "mode": "increase_batch", "max_batch_size": 128, "base_learning_rate": 0.02}
    model = {"options": {"stem": "cifar", "sync_bn": True}}
    kt.train(resized(schedule=schedule, model=model, train={"strategy": "one"}), tmp_path / "one", verbose=0)
    script = f"""
import keras_tricks as kt
from keras_tricks.recipe import load_recipe
recipe = load_recipe({str(tmp_path / "one" / "recipe.json")!r})
kt.train(recipe.replace(train={{"logical_devices": 2, "strategy": "mirrored"}}), {str(tmp_path / "two")!r}, verbose=0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    one, two = summary(tmp_path / "one"), summary(tmp_path / "two")
    assert [r["batch_size"] for r in one] == ["64", "128", "128"]
    for a, b in zip(one, two, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-4)
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), rel=1e-3)


def test_plan_shows_the_sizes(capsys):
    cli.run(cli.parse(["keras-tricks", "plan", "quickstart", "--set", "data.progressive_resizing=[[16,2]]"]))
    assert ", 16 px in epochs 0 to 1, " in capsys.readouterr().out


def test_a_network_of_fixed_input_is_refused_before_the_run(tmp_path):
    def build(input_shape, classes):
        inputs = keras.Input((12, 12, 3))
        return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(inputs)))

    plain = {"options": {}, "zero_gamma": False}
    with pytest.raises(UserError, match="cannot be called on images"):
        kt.train(resized(model=plain), tmp_path / "run", model=build, verbose=0)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="`data.progressive_resizing` has 8 pixels"):
        kt.train(resized(model=plain | {"name": "test_airbench"}), tmp_path / "run", verbose=0)
