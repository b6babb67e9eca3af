"""Complete runs of a tiny recipe. The tests share one uninterrupted run and compare other runs with it."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits
from support.tiny_runs import (  # noqa: F401
    GROWN_STEPS,
    NO_EXPORT,
    STEPS,
    assert_same_end,
    growing,
    leave_tensorflow_as_it_was,
    state,
    summary,
    timeless_summary,
    tiny,
)

import keras_tricks as kt
from keras_tricks import callbacks, evaluation, training
from keras_tricks.recipe import Recipe
from keras_tricks.run import log as run_log
from keras_tricks.run.resolve import create_run_folder, resolve_run
from keras_tricks.run.start import epochs_of_fits
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import COLUMNS, write_summary
from keras_tricks.weights import safetensors_io


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = kt.train(tiny(), output=folder, verbose=0)
    return run


def test_what_a_run_leaves(finished):
    folder = finished.folder
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    assert {
        "recipe.json", "env.json", "summary.csv", "log.txt", "curves.png", "events",
        "checkpoints/last.safetensors", "checkpoints/best.safetensors",
        "export/model.keras", "export/saved_model/saved_model.pb", "export/classes.json",
    } <= found
    assert not [name for name in found if "partial" in name]
    assert Recipe.from_json((folder / "recipe.json").read_text()) == tiny()
    env = json.loads((folder / "env.json").read_text())
    assert env["versions"]["keras"] == keras.__version__ and env["backend"] == "tensorflow" and env["devices"]
    assert json.loads((folder / "export" / "classes.json").read_text()) == list("0123456789")
    log = (folder / "log.txt").read_text()
    assert "1198 training and 599 validation images of 10 classes" in log and "top-1" in log


def test_the_summary_has_the_results_of_every_epoch(finished):
    first, last = summary(finished.folder)
    assert (first["epoch"], first["step"], first["images"]) == ("1", str(STEPS), str(STEPS * 128))
    assert (last["epoch"], last["step"]) == ("2", str(2 * STEPS))
    rate = kt.schedules.learning_rate(2 * STEPS - 1, STEPS, 0.1, 0.5, kt.schedules.Cosine(2))
    assert float(last["lr"]) == pytest.approx(rate, rel=1e-5)
    assert float(last["noise_scale"]) == pytest.approx(rate * 1198 / (128 * 0.1), rel=1e-5)
    assert float(last["top1"]) == pytest.approx(100 * finished.history["val_top1"][-1], rel=1e-5)
    assert float(last["train_loss"]) < float(first["train_loss"])
    assert 0 <= float(last["data_wait"]) <= 1 and float(last["images_per_s"]) > 0


def test_the_same_seed_gives_the_same_bits_with_any_number_of_workers(finished, tmp_path):
    again = kt.train(tiny(data={"workers": 4}, export=NO_EXPORT), output=tmp_path / "again", verbose=0)
    assert_same_end(finished.folder, again.folder)
    assert again.history["val_loss"] == finished.history["val_loss"]


def test_killed_and_resumed_is_uninterrupted(finished, tmp_path, monkeypatch):
    save, folder = callbacks.Checkpoint.on_epoch_end, tmp_path / "killed"

    def killed(self, epoch, logs=None):
        save(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Checkpoint, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(tiny(), output=folder, verbose=0)
    monkeypatch.undo()
    assert state(folder)[1]["epoch"] == "1" and len(summary(folder)) == 1

    kt.train(tiny(data={"workers": 2}, export=NO_EXPORT), output=folder, resume=True, verbose=0)
    assert_same_end(finished.folder, folder)
    assert timeless_summary(folder) == timeless_summary(finished.folder)
    assert "resuming after epoch 1 of 2" in (folder / "log.txt").read_text()


def test_resuming_a_finished_run_changes_nothing(finished, tmp_path):
    import shutil

    shutil.copytree(finished.folder, tmp_path / "copy")
    kt.train(tiny(export=NO_EXPORT), output=tmp_path / "copy", resume=True, verbose=0)
    assert_same_end(finished.folder, tmp_path / "copy")
    assert summary(tmp_path / "copy") == summary(finished.folder)


def test_another_seed_gives_other_weights(finished):
    ready = training.prepare(tiny(seed=4))
    tensors, _ = state(finished.folder)
    kernels = {f"model/{v.path}": v for v in ready.network.trainable_variables if v.name == "kernel"}
    first = training.prepare(tiny()).network
    assert kernels.keys() <= tensors.keys()
    for a, b in zip(kernels.values(), [v for v in first.trainable_variables if v.name == "kernel"], strict=True):
        assert (keras.ops.convert_to_numpy(a) != keras.ops.convert_to_numpy(b)).any()


def test_evaluate_equals_the_last_row(finished):
    values = kt.evaluate(tiny(), finished.folder / "checkpoints" / "last.safetensors")
    last = summary(finished.folder)[-1]
    assert 100 * values["top1"] == pytest.approx(float(last["top1"]), abs=1e-3)
    assert 100 * values["top5"] == pytest.approx(float(last["top5"]), abs=1e-3)
    assert values["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)


def test_the_best_checkpoint_is_that_of_the_best_row(finished):
    recipe, best = evaluation.load_run(finished.folder)
    assert recipe == tiny() and best.name == "best.safetensors"
    rows = summary(finished.folder)
    top1 = max(float(r["top1"]) for r in rows)
    assert 100 * float(safetensors_io.read(best)[1]["best"]) == pytest.approx(top1, abs=1e-3)


@pytest.fixture(scope="module")
def png_files(tmp_path_factory):
    folder, raw = tmp_path_factory.mktemp("png"), load_digits()
    paths = []
    for i in range(2, 92, 3):  # held-out images
        paths.append(folder / f"{i}.png")
        Image.fromarray((raw.images[i] * (255 / 16)).round().astype("uint8")).convert("RGB").save(paths[-1])
    return paths


def test_predict_agrees_with_the_exports_on_files(finished, png_files):
    pixels = np.stack([np.asarray(Image.open(p), "float32") for p in png_files])
    export = finished.folder / "export"
    with_keras = keras.saving.load_model(export / "model.keras", compile=False).predict(pixels, verbose=0)
    saved_model = tf.saved_model.load(str(export / "saved_model"))
    served = saved_model.serve(pixels).numpy()
    np.testing.assert_allclose(served, with_keras, atol=1e-5)
    np.testing.assert_allclose(with_keras.sum(axis=1), 1.0, atol=1e-5)
    predicted = evaluation.predict(finished.folder, png_files, 3)
    for probabilities, (path, answers) in zip(with_keras, predicted, strict=True):
        assert path in png_files and len(answers) == 3
        best = np.argsort(probabilities)[::-1][:3]
        assert [label for label, _ in answers] == [str(i) for i in best]
        np.testing.assert_allclose([p for _, p in answers], probabilities[best], atol=1e-5)


def test_the_deployed_model_is_the_network_with_its_preprocessing(finished):
    images = load_digits().images[2:92:3].repeat(3, axis=-1).reshape(-1, 8, 8, 3) * (255 / 16)
    logits = finished.network(((images - 78) / 96).astype("float32"), training=False)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(finished.model.predict(images, verbose=0), expected, atol=1e-5)


def test_predict_refuses_a_file_that_is_not_an_image(finished, tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match="a.png is not an image that can be read"):
        list(evaluation.predict(finished.folder, [tmp_path / "a.png"]))
    with pytest.raises(UserError, match="missing.png"):
        list(evaluation.predict(finished.folder, [tmp_path / "missing.png"]))
    with pytest.raises(UserError, match="is not a run folder"):
        evaluation.load_run(tmp_path)


def test_a_dry_run_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = kt.train(tiny(), dry_run=True, verbose=0)
    assert run.folder is None and list(tmp_path.iterdir()) == []
    assert len(run.history["loss"]) == 1 and np.isfinite(run.history["val_loss"]).all()
    assert "nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_mixed_precision_runs_and_keeps_float32_weights(precision):
    run = kt.train(tiny(train={"precision": precision}), dry_run=True, verbose=0)
    assert all(v.dtype == "float32" for v in run.network.trainable_variables)
    assert np.isfinite(run.history["loss"]).all() and np.isfinite(run.history["val_loss"]).all()
    conv = next(layer for layer in run.network.layers if isinstance(layer, keras.layers.Conv2D))
    assert conv.compute_dtype == precision.removeprefix("mixed_")
    assert run.network.output.dtype == "float32"


@pytest.mark.slow
def test_mixed_precision_exports_a_float32_model(tmp_path):
    run = kt.train(tiny(train={"precision": "mixed_float16"}, schedule={"epochs": 1}), tmp_path / "half", verbose=0)
    assert run.model.output.dtype == "float32"
    assert summary(run.folder)[0]["step"] == str(STEPS)
    loaded = keras.saving.load_model(run.folder / "export" / "model.keras")
    layers = [layer for layer in loaded._flatten_layers() if layer.weights and not isinstance(layer, keras.Model)]
    assert len(layers) > 10 and {layer.compute_dtype for layer in layers} == {"float32"}


@pytest.mark.slow
def test_accumulation_trains_with_the_schedule_of_the_whole_batch(tmp_path):
    recipe = tiny(optimizer={"accumulation_steps": 2}, schedule={"epochs": 1}, export=NO_EXPORT)
    run = kt.train(recipe, tmp_path / "accumulated", verbose=0)
    (row,) = summary(run.folder)
    assert (row["step"], row["images"], row["batch_size"]) == (str(STEPS), str(STEPS * 128), "128")
    rate = kt.schedules.learning_rate(STEPS - 1, STEPS, 0.1, 0.5, kt.schedules.Cosine(1))
    assert float(row["lr"]) == pytest.approx(rate, rel=1e-5)


@pytest.mark.slow
def test_training_and_evaluation_at_different_sizes(tmp_path):
    recipe = tiny(data={"test_image_size": 12}, schedule={"epochs": 1}, export=NO_EXPORT)
    run = kt.train(recipe, tmp_path / "sizes", verbose=0)
    assert run.model.input_shape == (None, 12, 12, 3)
    values = kt.evaluate(recipe, run.folder / "checkpoints" / "last.safetensors")
    assert 100 * values["top1"] == pytest.approx(float(summary(run.folder)[0]["top1"]), abs=1e-3)


@pytest.mark.slow
def test_the_average_of_the_weights_survives_a_restart(tmp_path, monkeypatch):
    recipe, save = tiny(optimizer={"ema_decay": 0.9}, export=NO_EXPORT), callbacks.Checkpoint.on_epoch_end
    whole = kt.train(recipe, tmp_path / "whole", verbose=0)

    def killed(self, epoch, logs=None):
        save(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Checkpoint, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(recipe, tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(recipe, tmp_path / "killed", resume=True, verbose=0)
    tops = [summary(folder)[-1]["ema_top1"] for folder in (whole.folder, tmp_path / "killed")]
    assert tops[0] == tops[1] != ""


@pytest.mark.parametrize("wait, told", [("0.1", False), ("0.6", True)])
def test_an_input_bound_run_gets_an_advice(tmp_path, caplog, wait, told):
    rows = [{column: "1" for column in COLUMNS} | {"data_wait": wait}] * 2
    write_summary(tmp_path, rows)
    with caplog.at_level("INFO", logger="absl"):
        run_log.log_result(tmp_path)
    command = f"`keras-tricks benchmark --data {tmp_path / 'recipe.json'}`"
    assert ("input-bound: 60 % of the training time" in caplog.text and command in caplog.text) == told


# ---- errors, all before anything is written


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model": {"classes": 7}}, "`model.classes` is 7 but digits has 10 classes"),
        ({"schedule": {"batch_size": 2000}}, "`schedule.batch_size` is 2000, more than the 1198 training images"),
        ({"model": {"name": "resnet50e"}}, "There is no model 'resnet50e'. Did you mean"),
        ({"model": {"options": {"stm": "cifar"}}}, "test_resnet has no argument `stm`. Did you mean \"stem\""),
        ({"model": {"weights": "missing.safetensors"}}, "The weight file missing.safetensors does not exist"),
        ({"model": {"weights": "model.pth"}}, "Pickled checkpoints"),
        ({"loss": {"teacher": "test_resnet"}}, "The teacher test_resnet needs trained weights"),
        ({"data": {"source": "digit"}}, 'Did you mean "digits"'),
        ({"optimizer": {"accumulation_steps": 3}}, "A batch of 128 images cannot be divided"),
    ],
)
def test_contradictions_are_user_errors(changes, words, tmp_path):
    with pytest.raises(UserError) as error:
        kt.train(tiny(**changes), output=tmp_path / "run", verbose=0)
    assert words in str(error.value) and not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_and_folders_are_numbered(finished, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="already has a run. Give --output another folder, or --resume"):
        create_run_folder(resolve_run(tiny(), finished.folder, False, None))
    monkeypatch.chdir(tmp_path)
    for name in ("tiny-digits", "tiny-digits-2", "tiny-digits-3"):
        assert create_run_folder(resolve_run(tiny(), None, False, None)) == pathlib.Path("runs") / name
        assert (tmp_path / "runs" / name).is_dir()


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        create_run_folder(resolve_run(tiny(), tmp_path / "file" / "run", False, None))


def test_a_label_out_of_range_is_a_user_error(tmp_path, monkeypatch):
    import dataclasses

    from keras_tricks.data.sources import digits

    opened = digits.digits()
    wrong = dataclasses.replace(opened, class_names=tuple("01234567"))
    monkeypatch.setattr("keras_tricks.data.open_source", lambda *args: wrong)
    assert opened.num_classes == 10
    with pytest.raises(UserError, match=r"A label of digits is not one of its 8 classes: .* is not in \[0, 8\)"):
        kt.train(tiny(), dry_run=True, verbose=0)


# ---- growing batches




@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return kt.train(growing(), output=tmp_path_factory.mktemp("runs") / "grown", verbose=0)


def test_the_summary_follows_a_growing_batch(grown):
    rows = summary(grown.folder)
    assert [int(r["batch_size"]) for r in rows] == [64, 128, 128, 256]
    assert [int(r["step"]) for r in rows] == GROWN_STEPS
    assert [int(r["images"]) for r in rows] == [18 * 64, 18 * 64 + 9 * 128, 18 * 64 + 18 * 128, 4480]
    rates = [float(r["lr"]) for r in rows]
    np.testing.assert_allclose(rates, 0.2 * 64 / 256, rtol=1e-5)
    scales = [rate * 1198 / (size * 0.1) for rate, size in zip(rates, (64, 128, 128, 256), strict=True)]
    np.testing.assert_allclose([float(r["noise_scale"]) for r in rows], scales, rtol=1e-5)
    assert grown.history["batch_size"] == [64, 128, 128, 256]
    assert "40 updates in 4 epochs of 1,198 images" in (grown.folder / "log.txt").read_text()


@pytest.mark.slow  # tests/run/test_reliability.py kills a growing batch in every run of the tests
@pytest.mark.parametrize("kill", [(1, 5), (2, 3)], ids=["in its first epoch", "in its second epoch"])
def test_killed_in_the_middle_of_the_second_phase_and_resumed_is_uninterrupted(grown, tmp_path, monkeypatch, kill):
    original, epoch_killed, batch_killed = callbacks.BatchSizeScheduler.on_train_batch_end, *kill

    def killed(self, batch, logs=None):
        original(self, batch, logs)
        if (self.epoch, batch) == (epoch_killed, batch_killed):
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(growing(), output=tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    assert state(tmp_path / "killed")[1]["epoch"] == str(epoch_killed)
    kt.train(growing(), output=tmp_path / "killed", resume=True, verbose=0)
    assert_same_end(grown.folder, tmp_path / "killed")
    assert [int(r["step"]) for r in summary(tmp_path / "killed")] == GROWN_STEPS


def test_static_shapes_give_the_same_bits(grown, tmp_path):
    run = kt.train(growing(train={"static_shapes": True}), output=tmp_path / "static", verbose=0)
    assert_same_end(grown.folder, run.folder)
    assert run.history["val_loss"] == grown.history["val_loss"] and len(summary(run.folder)) == 4


@pytest.mark.slow
def test_static_shapes_resume_in_the_middle_of_a_phase(grown, tmp_path, monkeypatch):
    save, recipe = callbacks.Checkpoint.on_epoch_end, growing(train={"static_shapes": True})

    def killed(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Checkpoint, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(recipe, output=tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(recipe, output=tmp_path / "killed", resume=True, verbose=0)
    assert_same_end(grown.folder, tmp_path / "killed")


@pytest.mark.slow
def test_a_batch_beyond_the_device_is_accumulated(tmp_path):
    recipe = growing(train={"max_batch_per_replica": 64})
    run = kt.train(recipe, output=tmp_path / "accumulated", verbose=0)
    assert [int(r["step"]) for r in summary(run.folder)] == GROWN_STEPS
    assert [int(r["batch_size"]) for r in summary(run.folder)] == [64, 128, 128, 256]
    assert int(keras.ops.convert_to_numpy(run.network.optimizer.iterations)) == 40


@pytest.mark.parametrize("start, one, several", [
    (0, [range(4)], [range(1), range(1, 3), range(3, 4)]),
    (1, [range(1, 4)], [range(1, 3), range(3, 4)]),
    (2, [range(2, 4)], [range(2, 3), range(3, 4)]),
    (4, [], []),
])
def test_which_epochs_are_fitted_together(start, one, several):
    import types

    for static, expected in ((False, one), (True, several)):
        recipe = growing(train={"static_shapes": static})
        plan = training.plan_of_recipe(recipe, 1198, 1)
        ready = types.SimpleNamespace(recipe=recipe, plan=plan, devices=types.SimpleNamespace(static_shapes=False))
        assert epochs_of_fits(ready, start) == expected


def test_steps_per_execution_that_do_not_divide_an_epoch_are_exact_or_refused(tmp_path):
    """1198 // 128 = 9 batches in an epoch, executed two at a time."""
    recipe = tiny(train={"steps_per_execution": 2}, export=NO_EXPORT)
    try:
        run = kt.train(recipe, output=tmp_path / "run", verbose=0)
    except UserError as error:
        assert "steps_per_execution" in str(error) and not (tmp_path / "run").exists()
    else:
        assert [int(r["step"]) for r in summary(run.folder)] == [STEPS, 2 * STEPS]


def test_fewer_images_are_chosen_evenly_and_the_plan_follows():
    ready = training.prepare(tiny(data={"train_images": 400}))
    assert ready.source.train.num_examples == ready.plan.dataset_size == 400
    assert (ready.plan[0].updates_per_epoch, ready.source.validation.num_examples) == (400 // 128, 599)
    labels = np.concatenate([y for _, y in training.training_batches(ready, range(1)).as_numpy_iterator()])
    assert len(labels) == 3 * 128


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data": {"train_images": 1199}}, "`data.train_images` is 1,199 but the split has 1,198 examples"),
        ({"schedule": {"max_batch_size": 63}}, "`max_batch_size` must be between `batch_size` 64"),
        ({"schedule": {"max_batch_size": 1199}}, "1,198 examples of the data set. Received: 1,199"),
        ({"schedule": {"milestones": (3, 1)}}, "`milestones` must increase"),
        ({"schedule": {"milestones": (1, 4)}}, "`milestones` must be between 0 and the 4 epochs"),
        ({"schedule": {"growth_factor": 1.3}}, "A batch of 64 grown by 1.3 becomes 83.2"),
        ({"train": {"steps_per_execution": 2}}, "steps_per_execution"),
    ],
)
def test_mistakes_of_a_growing_batch_are_reported_before_anything_is_written(changes, words, tmp_path):
    changes = {key: {**getattr(growing(), key).model_dump(), **change} for key, change in changes.items()}
    with pytest.raises(UserError) as error:
        kt.train(growing(**changes), output=tmp_path / "run", verbose=0)
    assert words in str(error.value) and not (tmp_path / "run").exists()


# --- frozen parts ---------------------------------------------------------------------------------------------------


def test_frozen_parts_keep_their_weights_and_statistics(tmp_path):
    """The stem and stage 1 do not change, including their statistics; the rest is trained."""
    recipe = tiny(model={"freeze": ("stem", "stage1")}, schedule={"epochs": 1}, export=NO_EXPORT)
    before = {v.path: v.numpy() for v in training.prepare(recipe).network.variables}
    after = training.train(recipe, tmp_path / "run", verbose=0).network
    moved = {v.path.split("_")[0].split("/")[0] for v in after.variables
             if v.name != "seed_generator_state" and not np.array_equal(v.numpy(), before[v.path])}
    assert moved == {"stage2", "head"}
    assert all(v.trainable is False for v in after.variables if v.path.startswith(("stem", "stage1_")))


def test_frozen_norms(tmp_path):
    recipe = tiny(model={"freeze_norms": True}, schedule={"epochs": 1}, export=NO_EXPORT)
    before = {v.path: v.numpy() for v in training.prepare(recipe).network.variables}
    after = training.train(recipe, tmp_path / "run", verbose=0).network
    kept = {v.name for v in after.variables if np.array_equal(v.numpy(), before[v.path])}
    assert {"gamma", "beta", "moving_mean", "moving_variance"} <= kept and "kernel" not in kept


def test_parts_there_are_not():
    with pytest.raises(UserError, match="`freeze`: test_resnet has no part 'stage9'. Did you mean \"stage"):
        training.prepare(tiny(model={"freeze": ("stage9",)}))
    with pytest.raises(UserError, match="`freeze` leaves nothing to train"):
        training.prepare(tiny(model={"freeze": ("stem", "stage1", "stage2", "head")}))


def test_batch_norm_without_a_memory_needs_an_average():
    recipe = tiny(model={"options": {"bn_momentum": 0.0, "stem": "cifar"}})
    training.prepare(recipe.replace(optimizer={"ema_decay": 0.99}))
    with pytest.raises(UserError, match="bn_momentum is 0 and there is no weight average: .*Set optimizer.ema_decay"):
        training.prepare(recipe)
