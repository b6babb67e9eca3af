"""A run that keeps an average of its weights stands for it: whatever uses the run says the average's number.

The run is that of a ResNet-RS recipe, small: `bn_momentum=0`, so that its raw weights have the statistics of one batch.
"""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from support.tiny_runs import NO_EXPORT, leave_tensorflow_as_it_was, state, summary, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import callbacks, cli, evaluation, training
from keras_tricks.run.weights import resolve_weights, run_weights
from keras_tricks.studies import compare
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

ONE_IMAGE = np.zeros((1, 32, 32, 3), "float32"), np.zeros((1, 10), "float32")

pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")


def recipe(**changes):
    return tiny(
        data={"image_size": 32, "train_images": 480}, augment={"color_jitter": "none", "mixup_alpha": 0.0},
        model={"name": "test_resnet_rs", "zero_gamma": False, "options": {"bn_momentum": 0.0}},
        optimizer={"ema_decay": 0.9}, schedule={"epochs": 3, "batch_size": 32}, export={"formats": ("keras",)},
    ).replace(**changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kt.train(recipe(), tmp_path_factory.mktemp("runs") / "averaged", verbose=0)


@pytest.fixture(scope="module")
def best(run):
    """The row of the epoch with the best average. The numbers of the raw weights are others."""
    rows = summary(run.folder)
    assert all(float(row["ema_top1"]) != float(row["top1"]) for row in rows)
    return max(rows, key=lambda row: float(row["ema_top1"]))


@pytest.fixture(scope="module")
def held_out():
    """Pixels and labels of the 599 held-out digits."""
    raw = load_digits()
    pixels = np.repeat((raw.images * (255 / 16)).round().astype("float32")[2::3, ..., None], 3, axis=-1)
    return pixels, raw.target[2::3]


def call(*words):
    args = cli.parse(["keras-tricks", *map(str, words)])
    args.run(args)


def top1(model, pixels, labels):
    images = keras.ops.image.resize(pixels, model.input_shape[1:3], "bilinear")
    return 100 * np.mean(np.argmax(model.predict(images, verbose=0), axis=-1) == labels)


def approx(text):
    return pytest.approx(float(text), abs=1e-3)


# ---- everything says the same number


def test_the_best_checkpoint_holds_the_average_of_the_best_epoch(run, best):
    tensors, metadata = safetensors_io.read(run.folder / "checkpoints" / "best.safetensors")
    assert (metadata["weights"], metadata["monitor"], metadata["epoch"]) == ("average", "val_ema_top1", best["epoch"])
    assert 100 * float(metadata["best"]) == approx(best["ema_top1"])
    last, _ = state(run.folder)
    averages = {name.removeprefix("ema/") for name in last if name.startswith("ema/")} - {"last_update"}
    assert {f"model/{name}" for name in averages} <= tensors.keys()
    if best["epoch"] == summary(run.folder)[-1]["epoch"]:
        for name in averages:
            np.testing.assert_array_equal(tensors[f"model/{name}"], last[f"ema/{name}"], err_msg=name)


def test_the_export_is_the_average(run, best, held_out):
    exported = keras.models.load_model(run.folder / "export" / "model.keras", compile=False)
    assert top1(exported, *held_out) == pytest.approx(float(best["ema_top1"]), abs=0.2)  # another resize: 1 of 599
    assert top1(run.model, *held_out) == top1(exported, *held_out)


def test_the_run_that_train_returns_is_the_average(run, best):
    tensors, _ = safetensors_io.read(run.folder / "checkpoints" / "best.safetensors")
    for name, variable in safetensors_io.weights_of(run.network).items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), tensors[f"model/{name}"], err_msg=name)


def test_evaluate(run, best, capsys):
    call("evaluate", run.folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"weights     averaged, after epoch {best['epoch']} (") and lines[1] == "images      599"
    assert lines[3].startswith(f"top1        {float(best['ema_top1']):.2f} %, 95 % confidence interval")
    values = kt.evaluate(recipe(), run.folder)
    assert 100 * values["top1"] == approx(best["ema_top1"])


def test_predict(run, held_out, tmp_path):
    pixels, labels = (values[:40] for values in held_out)
    for i, image in enumerate(pixels):
        Image.fromarray(image.astype("uint8")).save(tmp_path / f"{i:02d}.png")
    answers = evaluation.predict(run.folder, sorted(tmp_path.glob("*.png")), top=1)
    found = [int(label) for _, ((label, _),) in answers]
    exported = keras.models.load_model(run.folder / "export" / "model.keras", compile=False)
    images = keras.ops.image.resize(pixels, (32, 32), "bilinear")
    assert np.mean(found == np.argmax(exported.predict(images, verbose=0), axis=-1)) >= 0.97


def test_compare_and_the_closing_line(run, best):
    (group,) = compare.read_groups([run.folder])
    rows = summary(run.folder)
    assert group.last("top1") == [float(rows[-1]["ema_top1"])]
    log = (run.folder / "log.txt").read_text()
    assert (f"top-1 of the averaged weights {rows[-1]['ema_top1']} % after the last epoch; best {best['ema_top1']} % "
            f"after epoch {best['epoch']}.") in log
    assert f"final weights: averaged, after epoch {best['epoch']}" in log


def test_the_card_and_the_folder_for_a_hub(run, best, tmp_path):
    call("export", run.folder, "--output", tmp_path, "--format", "keras", "--layout", "huggingface")
    card = (tmp_path / "README.md").read_text()
    assert f"| validation top-1 | {best['ema_top1']} % (epoch {best['epoch']} of 3, averaged weights) |" in card
    published, _ = safetensors_io.read(tmp_path / "model.safetensors")
    average, _ = safetensors_io.read(run.folder / "checkpoints" / "best.safetensors")
    for name, values in published.items():
        np.testing.assert_array_equal(values, average[f"model/{name}"], err_msg=name)
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == list("0123456789")


def test_a_run_as_initial_weights_and_as_a_teacher(run):
    average, _ = safetensors_io.read(run.folder / "checkpoints" / "best.safetensors")
    started = training.build_network(recipe(model={"weights": str(run.folder)}), 10, tuple("0123456789"))
    taught = tiny(data={"image_size": 32}, loss={"teacher": "test_resnet_rs", "teacher_weights": str(run.folder)})
    for network in (started, training.build_teacher(taught, 10, tuple("0123456789"))):
        for name, variable in safetensors_io.weights_of(network).items():
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), average[f"model/{name}"], err_msg=name)


def test_the_weights_of_another_run(run, best, capsys):
    call("evaluate", run.folder / "recipe.json", "--weights", run.folder)
    assert f"top1        {float(best['ema_top1']):.2f} %" in capsys.readouterr().out


# ---- the other weights


def test_raw_weights_with_the_statistics_of_one_batch_are_refused(run, tmp_path):
    last = run.folder / "checkpoints" / "last.safetensors"
    for words in (["evaluate", run.folder, "--weights", "raw"], ["predict", run.folder, "x.png", "--weights", "raw"],
                  ["export", run.folder, "--weights", "raw", "--output", tmp_path / "out"],
                  ["evaluate", run.folder, "--weights", last], ["export", run.folder, "--weights", last]):
        with pytest.raises(UserError, match="holds raw weights of a run with bn_momentum=0: its batch statistics"):
            call(*words)
    with pytest.raises(UserError, match="holds raw weights"):
        training.build_network(recipe(model={"weights": str(last)}), 10)
    with pytest.raises(UserError, match="holds raw weights"):
        kt.evaluate(recipe(), last)


@pytest.fixture
def other_momentum(run, tmp_path):
    """The same run, had its statistics been averaged: at inference the momentum plays no part."""
    shutil.copytree(run.folder, tmp_path / "run")
    own = recipe()
    options = {key: value for key, value in own.model.options.items() if key != "bn_momentum"}
    (tmp_path / "run" / "recipe.json").write_text(own.replace(model={"options": options}).to_json())
    return tmp_path / "run"


def test_raw_weights_on_request(other_momentum, tmp_path, capsys):
    last = summary(other_momentum)[-1]
    call("evaluate", other_momentum, "--weights", "raw")
    out = capsys.readouterr().out
    assert out.startswith("weights     raw, after epoch 3 (") and f"top1        {float(last['top1']):.2f} %" in out
    call("export", other_momentum, "--weights", "raw", "--output", tmp_path / "raw", "--format", "keras")
    assert f"| validation top-1 | {last['top1']} % (epoch 3 of 3) |" in (tmp_path / "raw" / "README.md").read_text()


def test_which_weights(other_momentum):
    found = {which: run_weights(other_momentum, which) for which in ("best", "last", "raw")}
    assert {which: (w.path.stem, w.averaged) for which, w in found.items()} == {
        "best": ("best", True), "last": ("ema", True), "raw": ("last", False)}
    with pytest.raises(UserError, match="`weights` must be one of 'best', 'last', 'raw'"):
        run_weights(other_momentum, "average")
    assert resolve_weights(str(other_momentum)) == str(found["best"].path)
    for name in ("best", "ema"):
        (other_momentum / "checkpoints" / f"{name}.safetensors").unlink()
    with pytest.raises(UserError, match="has no average of its weights yet: its first epoch did not finish"):
        run_weights(other_momentum)


# ---- runs of earlier versions


def as_before(folder):
    """Writes the checkpoints as earlier versions did: the best raw weights, and no word on what was watched."""
    checkpoints = folder / "checkpoints"
    tensors, _ = safetensors_io.read(checkpoints / "last.safetensors")
    for path in checkpoints.glob("*.safetensors"):
        found, metadata = safetensors_io.read(path)
        if path.stem == "best":
            found = {name: values for name, values in tensors.items() if name.startswith(("model/", "optimizer/"))}
        metadata = {key: value for key, value in metadata.items() if key not in ("weights", "monitor")}
        safetensors_io.save(path, found, metadata | {"best": "0.99"})


def test_a_run_of_before_stands_for_its_last_average(other_momentum, capsys, caplog):
    as_before(other_momentum)
    with caplog.at_level("INFO", logger="absl"):
        found = run_weights(other_momentum)
    assert (found.path.stem, found.averaged) == ("ema", True) and "an earlier version wrote it" in caplog.text
    call("evaluate", other_momentum)
    assert f"top1        {float(summary(other_momentum)[-1]['ema_top1']):.2f} %" in capsys.readouterr().out


def test_a_run_of_before_continues_and_its_best_starts_anew(run, tmp_path, monkeypatch):
    """Its best was that of the raw weights, with which an average cannot be compared."""
    shutil.copytree(run.folder, tmp_path / "run")
    as_before(tmp_path / "run")
    ready = training.prepare(recipe())
    average = callbacks.WeightEMA(0.9, ONE_IMAGE)
    checkpoint = callbacks.Checkpoint(tmp_path / "run", ema=average)
    assert checkpoint.restore(ready.trainer) == callbacks.Position(3) and checkpoint.best is None
    last, _ = state(run.folder)
    for name, variable in safetensors_io.weights_of(ready.network).items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), last[f"model/{name}"], err_msg=name)
    plain = callbacks.Checkpoint(tmp_path / "run")
    plain.restore(ready.trainer)
    assert plain.best == 0.99


def test_an_average_that_is_not_evaluated_is_not_watched(tmp_path):
    assert callbacks.Checkpoint(tmp_path, ema=callbacks.WeightEMA(0.9)).monitor == "val_top1"
    assert callbacks.Checkpoint(tmp_path, ema=callbacks.WeightEMA(0.9, ONE_IMAGE)).monitor == "val_ema_top1"
    assert callbacks.Checkpoint(tmp_path, "val_top5", ema=callbacks.WeightEMA(0.9, ONE_IMAGE)).monitor == "val_top5"


# ---- the average over the last epochs (`optimizer.swa_epochs`)


def swa(**changes):
    return tiny(data={"train_images": 640}, optimizer={"swa_epochs": 2}, schedule={"epochs": 3},
                export=NO_EXPORT).replace(**changes)


class Kept(keras.callbacks.Callback):
    """The trained weights after each epoch."""

    def __init__(self):
        super().__init__()
        self._weights = []  # private: not part of checkpoints

    def on_epoch_end(self, epoch, logs=None):
        self._weights.append({v.path: np.array(v, "float64") for v in self.model.trainable_variables})


@pytest.fixture(scope="module")
def swa_run(tmp_path_factory):
    kept = Kept()
    return kt.train(swa(), tmp_path_factory.mktemp("runs") / "swa", verbose=0, callbacks=[kept]), kept._weights


def test_a_run_stands_for_the_mean_of_its_last_epochs(swa_run):
    run, (_, second, third) = swa_run
    rows = summary(run.folder)
    assert [bool(row["ema_top1"]) for row in rows] == [False, True, True]
    found = run_weights(run.folder, "last")
    assert found.averaged and found.epoch == 3 and found.top1(rows) == rows[-1]["ema_top1"]
    tensors, _ = safetensors_io.read(found.path)
    for path in second:
        np.testing.assert_allclose(tensors[path], (second[path] + third[path]) / 2, rtol=1e-5, atol=1e-7)
    values = kt.evaluate(swa(), str(found.path))
    assert 100 * values["top1"] == approx(rows[-1]["ema_top1"])
    assert not run_weights(run.folder, "raw").averaged and run_weights(run.folder).averaged


def test_its_batch_statistics_are_those_of_the_average(swa_run):
    run, _ = swa_run
    tensors, _ = safetensors_io.read(run_weights(run.folder, "last").path)
    ready = training.prepare(swa())
    safetensors_io.assign(safetensors_io.by_path(ready.network.variables), tensors, "ema")
    callbacks.recompute_statistics(ready.network, training.training_batches(ready, range(2, 3)))
    moving = [v for v in ready.network.non_trainable_variables if "moving" in v.path]
    assert len(moving) > 10
    for variable in moving:
        np.testing.assert_allclose(np.array(variable), tensors[variable.path], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_average_does_not_change_the_training(swa_run, tmp_path):
    run, _ = swa_run
    plain = kt.train(swa(optimizer={"swa_epochs": None}), tmp_path / "plain", verbose=0)
    tensors, other = state(run.folder)[0], state(plain.folder)[0]
    for name in other:
        if name.startswith(("model/", "optimizer/")):
            np.testing.assert_array_equal(tensors[name], other[name], err_msg=name)


@pytest.mark.slow
def test_a_killed_run_resumes_within_the_averaged_epochs(swa_run, tmp_path, monkeypatch):
    run, _ = swa_run
    on_batch = callbacks.Checkpoint.on_train_batch_end

    def killed(self, batch, logs=None):
        on_batch(self, batch, logs)
        if (self.position.epoch, self.position.images) == (2, 3 * 128):
            raise KeyboardInterrupt

    changed = swa(train={"checkpoint_steps": 3})
    monkeypatch.setattr(callbacks.Checkpoint, "on_train_batch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(changed, tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(changed, tmp_path / "killed", resume=True, verbose=0)
    (one, _), (two, _) = state(run.folder), state(tmp_path / "killed")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@pytest.mark.parametrize("changes, message", [
    ({"swa_epochs": 0}, "swa_epochs.*greater than 0"),
    ({"swa_epochs": 2, "ema_decay": 0.9}, "`optimizer.ema_decay` and `optimizer.swa_epochs`"),
    ({"swa_epochs": 4}, "swa_epochs` is 4, and the run has 3 epochs"),
])
def test_an_average_that_cannot_be_taken(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        kt.train(swa().replace(optimizer=changes), tmp_path / "run", verbose=0)


@pytest.mark.slow
def test_four_replicas_have_the_average_of_one_device(tmp_path):
    """Without random layers, whose masks differ by replica."""
    def averages(name, **train):
        recipe = swa(data={"train_images": 256}, schedule={"epochs": 2, "warmup_epochs": 0}, train=train,
                     model={"options": {"stem": "cifar", "sync_bn": True}})
        run = kt.train(recipe, tmp_path / name, verbose=0)
        return safetensors_io.read(run_weights(run.folder, "last").path)[0]

    one, four = averages("one", strategy="one"), averages("four", strategy="mirrored", logical_devices=4)
    for name, value in one.items():
        scale = max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(four[name] / scale, value / scale, atol=2e-3, err_msg=name)
