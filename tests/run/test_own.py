"""Models and callbacks of the user, by import path and handed over: killed and resumed, and in every command."""

import json
import shutil

import keras
import numpy as np
import pytest
from support import own_parts
from support.tiny_runs import NO_EXPORT, assert_same_end, leave_tensorflow_as_it_was, state, summary, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import callbacks, cli, training
from keras_tricks.cli.plan import describe
from keras_tricks.run.failures import how_to_resume
from keras_tricks.run.folder import completed_summary, was_stopped
from keras_tricks.run.own import Handed, make_callbacks
from keras_tricks.studies import compare
from keras_tricks.utils.errors import UserError

HOOKS = ("support.own_parts:hooks",)
MODEL = {"name": "support.own_parts:build", "zero_gamma": False, "options": {"width": 4}}


def own(**changes):
    """A model and callbacks by import path; the run stops after four of six epochs."""
    return tiny(model=MODEL, schedule={"epochs": 6, "decay": "constant"},
                train={"callbacks": HOOKS, "checkpoint_steps": 2}, export=NO_EXPORT
                ).replace(**changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    kt.train(own(), folder, verbose=0)
    return folder


class Killed(BaseException):
    pass


def kill_at(monkeypatch, epoch, batch):
    original = callbacks.BatchSizeScheduler.on_train_batch_begin

    def hook(this, number, logs=None):
        if (this.epoch, number) == (epoch, batch):
            raise Killed
        original(this, number, logs)

    monkeypatch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_begin", hook)


def states_of(folder):
    from keras_tricks.weights import safetensors_io

    metadata = safetensors_io.read(folder / "checkpoints" / "last.safetensors")[1]
    return json.loads(metadata["callbacks"])[2:]  # without the times of the log


def test_the_callbacks_reduce_the_rate_and_stop_the_run(whole):
    rates = [float(row["lr"]) for row in summary(whole)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.025], rtol=1e-6)
    count, plateau, stopping, scheduler = states_of(whole)
    assert count["batches"] == 4 * 9 and plateau["wait"] == 0 and stopping["wait"] == 3
    assert scheduler["scale"] == pytest.approx(0.125)


@pytest.mark.parametrize("epoch, batch", [(2, 5), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_killed_in_an_epoch_and_resumed_gives_the_same_bits(whole, tmp_path, monkeypatch, epoch, batch):
    kill_at(monkeypatch, epoch, batch)
    with pytest.raises(Killed):
        kt.train(own(), tmp_path, verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path, verbose=0)
    assert_same_end(whole, tmp_path)
    assert states_of(whole) == states_of(tmp_path)
    assert [row["val_loss"] for row in summary(whole)] == [row["val_loss"] for row in summary(tmp_path)]


def test_a_source_a_model_and_callbacks_by_import_path(tmp_path, monkeypatch):
    """All three in one recipe: killed in an epoch, and resumed from the folder alone."""
    recipe = own(data={"source": "support.sources:open_digits"}, train={"checkpoint_steps": 1, "callbacks": HOOKS},
                 schedule={"epochs": 2, "batch_size": 32, "decay": "constant"})
    kt.train(recipe, tmp_path / "whole", verbose=0)
    kill_at(monkeypatch, 1, 2)
    with pytest.raises(Killed):
        kt.train(recipe, tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path / "killed", verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    saved = json.loads((tmp_path / "killed" / "recipe.json").read_text())
    assert saved["data"]["source"] == "support.sources:open_digits"


def test_a_run_that_a_callback_stopped_stays_stopped(whole, tmp_path, caplog):
    before = state(whole)[0]
    with caplog.at_level("INFO", "absl"):
        kt.train(resume=whole, verbose=0)
    assert len(summary(whole)) == 4 and "nothing is left to train" in caplog.text
    for name, values in state(whole)[0].items():
        np.testing.assert_array_equal(before[name], values)


def test_a_run_that_a_callback_stopped_is_complete(whole, tmp_path):
    """For `ablate` and `scale`, which read `completed_summary`, and for `compare`."""
    assert was_stopped(whole) and len(completed_summary(whole, own())) == 4
    other = shutil.copytree(whole, tmp_path / "other")
    (other / "recipe.json").write_text(own(seed=4).to_json())
    rows = (other / "summary.csv").read_text().splitlines()
    (other / "summary.csv").write_text("\n".join(rows[:3]) + "\n")  # stopped after two epochs
    (group,) = compare.read_groups([whole, other])
    assert [len(rows) for rows in group.rows] == [4, 2] and len(group.values("top1")) == 2
    assert "2-4" in compare.table([group]).splitlines()[1].split()
    shutil.rmtree(other / "checkpoints")  # not stopped: unfinished
    assert not was_stopped(other) and completed_summary(other, own(seed=4)) is None
    assert [len(rows) for rows in compare.read_groups([whole, other])[0].rows] == [2, 2]


@pytest.mark.parametrize("changes, expected", [
    ({}, "keras-tricks train --resume runs/a"),
    ({"data": {"source": "python", "fingerprint": "x"}}, "kt.train(resume='runs/a', data=...)"),
    ({"model": {"name": "<function build>"}, "train": {"callbacks": ("<callback Count>",)}},
     "kt.train(resume='runs/a', model=..., callbacks=...)"),
])
def test_how_an_interrupted_run_continues(changes, expected):
    assert how_to_resume(tiny().replace(**changes), "runs/a") == expected


def test_the_plan_and_the_recipe_show_them(whole):
    text = describe(training.prepare(own()))
    assert "model       support.own_parts:build at 8 px: 510 parameters" in text
    assert ("callbacks   Count, ReduceLROnPlateau, EarlyStopping (from support.own_parts:hooks)") in text
    saved = json.loads((whole / "recipe.json").read_text())
    assert saved["model"]["name"] == "support.own_parts:build"
    assert saved["train"]["callbacks"] == ["support.own_parts:hooks"]


def test_commands_rebuild_the_model(whole, tmp_path, capsys):
    found = kt.evaluate(own(), whole)
    assert 0 < found["top1"] < 1
    cli.run(cli.parse(["keras-tricks", "export", str(whole), "--format", "keras", "--output", str(tmp_path / "out")]))
    images = np.zeros((1, 8, 8, 3), "float32")
    exported = keras.saving.load_model(tmp_path / "out" / "model.keras")
    assert exported(images).shape == (1, 10)
    tuned = training.prepare(own(model={**MODEL, "weights": str(whole)})).network
    best = kt.models.create_model(own_parts.build, input_shape=(8, 8, 3), classes=10, width=4,
                                  weights=whole / "checkpoints" / "best.safetensors")
    for a, b in zip(tuned.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_function_and_callbacks_handed_over(tmp_path, capsys):
    def build(input_shape, classes):
        return own_parts.build(input_shape, classes, width=2)

    recipe, stop = tiny(model={"zero_gamma": False, "options": {}}, export=NO_EXPORT), own_parts.one_hook()
    run = kt.train(recipe, tmp_path / "run", verbose=0, model=build, callbacks=[stop])
    assert run.network.count_params() < 500 and stop.best > 0
    saved = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (saved["model"]["name"], saved["train"]["callbacks"]) == ("<function build>", ["<callback EarlyStopping>"])
    for command in ("evaluate", "predict"):
        with pytest.raises(SystemExit) as code:
            cli.run(cli.parse(["keras-tricks", command, str(tmp_path / "run"), *["x.png"] * (command == "predict")]))
        error = capsys.readouterr().err.strip()
        assert code.value.code == 2 and "<function build>, which was handed to kt.train" in error and "\n" not in error
    with pytest.raises(UserError, match="<function build>, which was handed to kt.train"):
        kt.train(resume=tmp_path / "run", verbose=0)
    with pytest.raises(UserError, match="`train.callbacks` has <callback EarlyStopping>, which was handed to kt.train"):
        kt.train(resume=tmp_path / "run", verbose=0, model=build)
    kt.train(resume=tmp_path / "run", verbose=0, model=build, callbacks=[own_parts.one_hook()])


def test_a_function_with_an_import_path_is_recorded_by_it():
    named = Handed(own_parts.build, ()).named(tiny())
    assert named.model.name == "support.own_parts:build"
    with pytest.raises(UserError, match=r"kt.train\(model=...\) takes a function .* Received: str"):
        kt.train(tiny(), model="resnet20")
    with pytest.raises(UserError, match=r"kt.train\(callbacks=...\) must give .* Received: str"):
        kt.train(tiny(), callbacks=["EarlyStopping"])


def hooks_of(path, **changes):
    return make_callbacks(tiny(train={"callbacks": (path,)}, **changes))


def test_a_path_names_a_function_or_a_class():
    assert isinstance(hooks_of("support.own_parts:one_hook")[0], keras.callbacks.EarlyStopping)
    assert isinstance(hooks_of("keras.callbacks:TerminateOnNaN")[0], keras.callbacks.TerminateOnNaN)


@pytest.mark.parametrize("path, message", {
    "nothing_here:make": "`train.callbacks` is 'nothing_here:make', and there is no module nothing_here",
    "support.own_parts:no_hook": "own_parts:no_hook must give keras.callbacks.Callback objects. Received: int",
    "support.own_parts:NUMBER": "is int, not a function that returns callbacks",
    "support.own_parts:raises": "raised TypeError",
    "EarlyStopping": "must be an import path",
    "support.own_parts:hooks": "ReduceLROnPlateau reduces the learning rate that schedule.decay=cosine sets again",
    "keras.callbacks:BackupAndRestore": "raised TypeError",
}.items())
def test_a_wrong_path_is_an_error_of_one_line(path, message):
    with pytest.raises(UserError, match=message) as error:
        hooks_of(path)
    assert "\n" not in str(error.value)


def test_callbacks_that_contradict_the_run_are_refused(tmp_path):
    for callback, message in (
            (keras.callbacks.BackupAndRestore(str(tmp_path)), "leave out BackupAndRestore, because a run keeps"),
            (keras.callbacks.LearningRateScheduler(lambda e: 0.1), "leave out LearningRateScheduler, because"),
            (callbacks.WarmupLinearScaling(128), "leave out WarmupLinearScaling, because")):
        with pytest.raises(UserError, match=message):
            make_callbacks(tiny(train={"callbacks": ("<callback>",)}), Handed(None, [callback]))


def test_a_model_that_normalizes_is_given_pixels(tmp_path):
    recipe = tiny(model={**MODEL, "name": "support.own_parts:rescaled", "options": {}})
    with pytest.raises(UserError, match="normalizes its images itself .*: set data.mean=.0,0,0. and data.std=.1,1,1."):
        training.prepare(recipe)
    training.prepare(recipe.replace(data={"mean": (0.0,) * 3, "std": (1.0,) * 3}))


def test_a_subclassed_model_is_planned_and_trained(tmp_path):
    recipe = tiny(model={**MODEL, "name": "support.own_parts:subclassed", "options": {}}, schedule={"epochs": 1},
                  export={"formats": ("keras",)})
    assert "own_parts:subclassed at 8 px: 314 parameters" in describe(training.prepare(recipe))
    kt.train(recipe, tmp_path / "run", verbose=0)
    assert (tmp_path / "run" / "export" / "model.keras").is_file()


@pytest.mark.slow
def test_replicas_train_it_with_the_same_rates(tmp_path):
    recipe = own(schedule={"epochs": 3}, train={"strategy": "mirrored", "logical_devices": 4, "callbacks": HOOKS})
    kt.train(recipe, tmp_path / "run", verbose=0)
    np.testing.assert_allclose([float(row["lr"]) for row in summary(tmp_path / "run")], [0.1, 0.1, 0.05], rtol=1e-6)


@pytest.mark.slow
def test_one_fit_for_each_phase_keeps_the_state(whole, tmp_path, monkeypatch):
    kill_at(monkeypatch, 1, 5)
    with pytest.raises(Killed):
        kt.train(own(train={"static_shapes": True}), tmp_path, verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path, verbose=0)
    assert_same_end(whole, tmp_path)
