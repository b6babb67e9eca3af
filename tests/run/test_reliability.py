"""Runs that stop at any step, by a signal or by non-finite numbers, and runs that must not be resumed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.tiny_runs import (  # noqa: F401
    NO_EXPORT,
    assert_same_end,
    growing,
    leave_tensorflow_as_it_was,
    state,
    summary,
    timeless_summary,
    tiny,
)

import keras_tricks as kt
from keras_tricks import callbacks, training
from keras_tricks.run.lock import locked
from keras_tricks.run.resolve import resumed_recipe
from keras_tricks.run.start import first_step_of
from keras_tricks.utils.errors import UserError


def everything(**changes):
    """A growing batch with accumulation, a weight average, drop path, dropout and mixup."""
    recipe = growing(optimizer={"ema_decay": 0.9}, train={"max_batch_per_replica": 64, "checkpoint_steps": 2})
    return recipe.replace(**changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    kt.train(everything(), folder, verbose=0)
    return folder


def assert_same(folder, other):
    assert_same_end(folder, other)
    assert timeless_summary(folder) == timeless_summary(other)


class At:
    """Calls a function after a batch of an epoch, both counted from 0 in this process."""

    def __init__(self, monkeypatch, epoch, batch, action):
        original = callbacks.BatchSizeScheduler.on_train_batch_begin

        def hook(this, number, logs=None):
            if (this.epoch, number) == (epoch, batch):
                action()
            original(this, number, logs)

        monkeypatch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_begin", hook)


class Killed(BaseException):
    """An end that no code of this package handles."""


def kill():
    raise Killed


@pytest.mark.parametrize("epoch, batch", [(1, 7), *(pytest.param(*case, marks=pytest.mark.slow)
                                                    for case in ((0, 5), (2, 1), (3, 12)))])
def test_killed_in_an_epoch_and_continued_is_uninterrupted(whole, tmp_path, monkeypatch, epoch, batch):
    """Batches of 64: 18 updates in the first epoch, 9 of two batches in the next two, 4 of four in the last."""
    At(monkeypatch, epoch, batch, kill)
    with pytest.raises(Killed):
        kt.train(everything(), tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    accumulated = {0: 1, 1: 2, 2: 2, 3: 4}[epoch]
    seen = batch // max(2, accumulated) * max(2, accumulated) * 64
    assert (state(tmp_path / "killed")[1]["epoch"], state(tmp_path / "killed")[1]["images"]) == (str(epoch), str(seen))
    kt.train(everything(), tmp_path / "killed", resume=True, verbose=0)
    assert_same(whole, tmp_path / "killed")


@pytest.mark.slow
def test_killed_twice_in_one_epoch(whole, tmp_path, monkeypatch):
    for batch in (7, 5):  # the second process starts at batch 6
        At(monkeypatch, 1, batch, kill)
        with pytest.raises(Killed):
            kt.train(everything(), tmp_path / "killed", resume=True, verbose=0)
        monkeypatch.undo()
    assert state(tmp_path / "killed")[1]["images"] == str(10 * 64)
    kt.train(resume=tmp_path / "killed", verbose=0)  # its own recipe
    assert_same(whole, tmp_path / "killed")


@pytest.mark.parametrize("number, code", [("SIGTERM", 143), *(pytest.param(*case, marks=pytest.mark.slow)
                                                               for case in (("SIGINT", 130), ("SIGUSR1", 138)))])
def test_signals_end_a_run_with_a_checkpoint(whole, tmp_path, monkeypatch, number, code):
    recipe = everything(train={"checkpoint_steps": None})
    before = [signal.getsignal(n) for n in callbacks.interruption.SIGNALS]
    At(monkeypatch, 1, 4, lambda: os.kill(os.getpid(), getattr(signal, number)))
    with pytest.raises(callbacks.Interrupted, match=f"stopped by {number} 384 images into epoch 2. Continue with: "
                                                    "keras-tricks train --resume .*run") as error:
        kt.train(recipe, tmp_path / "run", verbose=0)
    monkeypatch.undo()
    assert error.value.exit_code == code
    assert [signal.getsignal(n) for n in callbacks.interruption.SIGNALS] == before
    kt.train(recipe, tmp_path / "run", resume=True, verbose=0)
    assert_same(whole, tmp_path / "run")


def test_a_signal_during_the_evaluation_ends_the_run_after_the_epoch(tmp_path, monkeypatch):
    original = callbacks.RunLog.on_test_begin

    def hook(this, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)
        original(this, logs)

    monkeypatch.setattr(callbacks.RunLog, "on_test_begin", hook)
    with pytest.raises(callbacks.Interrupted, match="stopped by SIGTERM after epoch 1"):
        kt.train(tiny(export=NO_EXPORT), tmp_path / "run", verbose=0)
    assert len(summary(tmp_path / "run")) == 1


def test_the_command_line_prints_how_to_continue(tmp_path):
    """In a new process: SIGTERM gives exit code 143 and one line, and the same command continues."""
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--output", str(folder), "--resume"]
    process = subprocess.Popen([*words, "--set", "schedule.epochs=500", "--set", "train.checkpoint_steps=5"],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for _ in range(1200):
        if (folder / "checkpoints" / "last.safetensors").exists() or process.poll() is not None:
            break
        threading.Event().wait(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "keras-tricks: stopped by SIGTERM " in said and f"keras-tricks train --resume {folder}" in said
    assert "Traceback" not in said


TWICE = """
import os, signal, sys
import pytest
import keras_tricks as kt
from run.test_reliability import At, everything

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes with it ignored

def twice():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

At(pytest.MonkeyPatch(), 1, 7, twice)
kt.train(everything(), sys.argv[1], verbose=0)
"""


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_process_at_once(whole, tmp_path):
    """During an update, for which the first signal would wait. The run resumes from the last regular checkpoint."""
    paths = [str(pathlib.Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run([sys.executable, "-c", TWICE, str(tmp_path / "run")], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "SIGINT: finishing this step" in done.stderr
    assert "ended at once; the last checkpoint is complete" in done.stderr
    assert "Traceback" not in done.stderr
    assert int(state(tmp_path / "run")[1]["images"]) in (4 * 64, 6 * 64)  # the last may still have been written
    kt.train(everything(), tmp_path / "run", resume=True, verbose=0)
    assert_same(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_run_continues_with_two_replicas(tmp_path, monkeypatch):
    """From one device to two in the middle of an epoch: the same curve, to rounding."""
    options = {"stem": "cifar", "sync_bn": True}
    recipe = tiny(model={"options": options}, schedule={"epochs": 1}, train={"checkpoint_steps": 1}, export=NO_EXPORT)
    kt.train(recipe, tmp_path / "one", verbose=0)
    At(monkeypatch, 0, 6, kill)
    with pytest.raises(Killed):
        kt.train(recipe, tmp_path / "two", verbose=0)
    words = ["train", "--resume", str(tmp_path / "two"), "--strategy", "mirrored", "--logical-devices", "2"]
    subprocess.run([sys.executable, "-m", "keras_tricks", *words], check=True, capture_output=True)
    (one,), (two,) = summary(tmp_path / "one"), summary(tmp_path / "two")
    assert "resuming 768 images into epoch 1" in (tmp_path / "two" / "log.txt").read_text()
    for column in ("step", "images", "lr", "batch_size"):
        assert one[column] == two[column]
    for column in ("train_loss", "val_loss"):
        assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-5)


# ---- runs that must not be resumed


def test_another_recipe_is_refused_without_a_choice(tmp_path, whole):
    with pytest.raises(UserError, match=r"\(schedule.epochs was 4, now 5\). Choose one: --changes run"):
        kt.train(everything(schedule={"epochs": 5}), whole, resume=True)
    with pytest.raises(UserError, match="`changes` must be one of"):
        kt.train(everything(schedule={"epochs": 5}), whole, resume=True, changes="old")
    recipe = everything(schedule={"epochs": 5}, data={"workers": 3})
    own = resumed_recipe(whole, recipe, "run")
    assert (own.schedule.epochs, own.data.workers) == (4, 3)
    assert resumed_recipe(whole, recipe, "new") == recipe
    elsewhere = everything(data={"data_dir": "/elsewhere"}, train={"strategy": "mirrored", "logical_devices": 2})
    assert resumed_recipe(whole, elsewhere, None) == elsewhere


def test_folders_that_are_not_a_run(tmp_path, whole):
    with pytest.raises(UserError, match="is not a run folder: it has no recipe.json"):
        kt.train(resume=tmp_path)
    with pytest.raises(UserError, match="is not a run folder"):
        kt.train(resume=tmp_path / "missing")
    with pytest.raises(UserError, match="leave out --output"):
        kt.train(everything(), tmp_path, resume=whole)
    with pytest.raises(UserError, match="train needs a recipe"):
        kt.train()


def test_other_data_are_refused(tmp_path):
    kt.train(tiny(schedule={"epochs": 1}, export=NO_EXPORT), tmp_path / "run", verbose=0)
    path = tmp_path / "run" / "recipe.json"
    fewer = tiny(schedule={"epochs": 1}, export=NO_EXPORT, data={"train_images": 1000})
    path.write_text(fewer.to_json())
    with pytest.raises(UserError, match="another number of training images: '1198', now '1000'"):
        kt.train(fewer, tmp_path / "run", resume=True, verbose=0)


def test_two_processes_in_one_folder(tmp_path, caplog):
    with locked(tmp_path):
        with pytest.raises(UserError, match=f"Another process writes to .*: process {os.getpid()} on .*, since 20"):
            with locked(tmp_path):
                pass
    assert not (tmp_path / ".owner").exists()
    (tmp_path / ".owner").write_text("process 1 on moon, since long\n")  # that process was killed
    with caplog.at_level("INFO", logger="absl"), locked(tmp_path):
        pass
    assert "the last process ended without releasing its lock: process 1 on moon" in caplog.text
    assert not (tmp_path / ".owner").exists()


# ---- non-finite numbers


def test_a_non_finite_loss_names_the_layer_and_the_images(tmp_path):
    recipe = tiny(schedule={"base_learning_rate": 1e30, "warmup_epochs": 0}, export=NO_EXPORT)
    with pytest.raises(UserError, match="Training stopped: the loss is (nan|inf) at step [1-9] of epoch 1; the first "
                                        "layer that is not finite is .*non_finite.json") as error:
        kt.train(recipe, tmp_path / "run", verbose=0)
    found = json.loads((tmp_path / "run" / "non_finite.json").read_text())
    assert len(set(found["images"])) == 128 and f"step {found['step'] + 1} of epoch 1" in str(error.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_images_named_are_those_of_the_batch(tmp_path):
    from keras_tricks import data

    plain = tiny(augment={"crop": "none", "color_jitter": "none", "mixup_alpha": 0.0})
    ready = training.prepare(plain)
    images, labels = next(iter(training.training_batches(ready, range(1, 2), 3)))
    chosen = data.batch_indices(ready.source.train, ready.plan, plain.seed, 1, 3)
    assert [int(ready.source.train.fetch(i)[1]) for i in chosen] == list(np.argmax(labels, axis=-1))


def test_non_finite_updates_can_be_skipped():
    optimizer = training.build_optimizer(tiny(train={"skip_non_finite": True}))
    variable = keras.Variable([1.0, 2.0])
    optimizer.build([variable])
    optimizer.learning_rate = 0.1
    optimizer.apply([tf.constant([np.nan, 1.0])], [variable])
    np.testing.assert_array_equal(variable, [1.0, 2.0])
    optimizer.apply([optimizer.dynamic_scale * tf.constant([1.0, 1.0])], [variable])
    assert np.all(np.asarray(variable) < [1.0, 2.0])


def test_updates_left_out_now_and_then_do_not_end_a_run(caplog):
    optimizer = training.build_optimizer(tiny(train={"skip_non_finite": True}))
    variable = keras.Variable([1.0, 2.0])
    optimizer.build([variable])
    model = type("Model", (), {"optimizer": optimizer})()
    watchdog, log = callbacks.Watchdog(callbacks.Checkpoint("unused")), callbacks.OverflowLog()
    for callback in (watchdog, log):
        callback.set_model(model)

    def step(gradient):
        optimizer.apply([optimizer.dynamic_scale * tf.constant([gradient, 1.0])], [variable])
        log.on_train_batch_end(0)
        watchdog.on_train_batch_end(0)

    for _ in range(20):
        step(np.nan)
        step(0.1)
    assert log.skipped == 20 and "the gradient is not finite, update skipped" in caplog.text
    with pytest.raises(UserError, match="8 consecutive updates had non-finite gradients"):
        for _ in range(8):
            step(np.nan)


def test_a_place_in_an_epoch_that_does_not_fit(whole):
    plan = training.plan_of_recipe(everything(), 1198, 1)
    for images, together in ((640, 4), (100, 1), (18 * 64, 1)):
        with pytest.raises(UserError, match="The run stopped .* which does not fit"):
            first_step_of(plan, callbacks.Position(0, images), together)
    assert first_step_of(plan, callbacks.Position(0, 640), 2) == 10


def test_too_little_memory_suggests_a_batch_that_fits(tmp_path, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore words")

    monkeypatch.setattr(keras.Model, "fit", full)
    with pytest.raises(UserError, match=r"Out of memory at 128 images per replica \(OOM when allocating tensor\). "
                                        "Divide the batch with --set train.max_batch_per_replica=64"):
        kt.train(tiny(export=NO_EXPORT), tmp_path / "run", verbose=0)


def test_a_stalled_input_is_announced(caplog):
    checkpoint = callbacks.Checkpoint("unused")
    watchdog = callbacks.Watchdog(checkpoint, timeout_minutes=0.001)
    watchdog.on_train_begin()
    threading.Event().wait(0.3)
    watchdog.on_train_end()
    assert caplog.text.count("no step for 0 minutes: the input, another worker or a device is stalled") == 1


def test_more_epochs_continue_the_rows_and_the_curves(tmp_path):
    """TensorBoard's steps continue, without a second point for the same step."""
    recipe = tiny(schedule={"decay": "step", "milestones": (9,), "epochs": 1}, export=NO_EXPORT)
    kt.train(recipe, tmp_path / "run", verbose=0)
    kt.train(recipe.replace(schedule={"epochs": 3}), tmp_path / "run", resume=True, changes="new", verbose=0)
    assert [row["epoch"] for row in summary(tmp_path / "run")] == ["1", "2", "3"]
    steps = []
    for file in (tmp_path / "run" / "events").glob("*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            steps += [event.step for value in event.summary.value if value.tag == "train_loss"]
    assert steps == [9, 18, 27] and pathlib.Path(tmp_path / "run" / "curves.png").is_file()
