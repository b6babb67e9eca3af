"""`keras-tricks reproduce`: weights that carry their recipe, trained again and compared bit by bit."""

import json
import os
import signal

import keras
import pytest
from support.photos import made_run, photos, recipe
from support.tiny_runs import NO_EXPORT, leave_tensorflow_as_it_was, tiny  # noqa: F401

from keras_tricks import callbacks, cli, training
from keras_tricks.cli.export import ExportOptions, export_run
from keras_tricks.recipe import Recipe
from keras_tricks.studies import reproduce as module
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with an average: `best` holds averaged weights, `last` raw ones, after epochs 1 and 2."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    training.train(tiny(export=NO_EXPORT, optimizer={"ema_decay": 0.9}), folder, verbose=0)
    return folder


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The folder of the second training. It is trained once: `reproduce` continues a run that is complete."""
    return tmp_path_factory.mktemp("runs") / "again"


def reproduce(path, *words):
    """Exit code of the command."""
    try:
        args = cli.parse(["keras-tricks", "reproduce", str(path), *map(str, words)])
        args.run(args)
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.mark.parametrize("name", ["best", "last", "last.1", "ema"])
def test_every_file_of_a_run_holds_its_recipe_and_is_reproduced(run, again, name, capsys):
    path = run / "checkpoints" / f"{name}.safetensors"
    metadata = safetensors_io.read_metadata(path)
    assert Recipe.from_json(metadata["recipe"]) == tiny(export=NO_EXPORT, optimizer={"ema_decay": 0.9})
    assert metadata["seed"] == "3" and "number of training images" in json.loads(metadata["about"])
    versions = json.loads(metadata["versions"])
    assert {"keras-tricks", "keras", "numpy", "python", "backend", "replicas"} <= versions.keys()
    assert reproduce(path, "--output", again) == 0
    out = capsys.readouterr().out
    assert "tensors are bit-equal\nversions    the same\n" in out and str(path) in out


def test_a_run_folder_is_its_best_weights(run, again, capsys):
    assert reproduce(run, "--output", again) == 0
    assert "best.safetensors" in capsys.readouterr().out


def test_an_export_for_the_hub(run, again, tmp_path, capsys):
    export_run(run, ExportOptions(("keras",), layout="huggingface"), tmp_path)
    assert reproduce(tmp_path / "model.safetensors", "--output", again) == 0
    assert "tensors are bit-equal" in capsys.readouterr().out


def changed(run, tmp_path, **changes):
    """A copy of the best weights, with other metadata."""
    tensors, metadata = safetensors_io.read(run / "checkpoints" / "best.safetensors")
    metadata |= changes
    path = tmp_path / "copy.safetensors"
    safetensors_io.save(path, tensors, {k: v for k, v in metadata.items() if v is not None})
    return path, tensors, metadata


def test_weights_that_differ_and_the_versions_that_may_be_the_cause(run, again, tmp_path, capsys):
    path, tensors, metadata = changed(run, tmp_path)
    versions = json.loads(metadata["versions"]) | {"keras": "3.0.0", "torch": "1.2"}
    versions.pop("numpy")
    name = next(name for name in tensors if name.endswith("stem/kernel"))
    tensors[name] = tensors[name].copy()
    tensors[name].flat[3] += 0.25
    safetensors_io.save(path, tensors, metadata | {"versions": json.dumps(versions)})
    assert reproduce(path, "--output", again) == 1
    out = capsys.readouterr().out
    assert "1 of " in out and "tensors differ, by up to 0.25 (stem/kernel)" in out
    assert "keras was 3.0.0, is " in out and "numpy was not there, is " in out


def test_an_old_file_loads_and_has_no_recipe(tmp_path):
    folder, _ = made_run(tmp_path / "run", recipe())
    with pytest.raises(UserError, match="best.safetensors holds no recipe: an earlier version or another program"):
        module.reproduce(folder / "checkpoints" / "best.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="is not a readable safetensors file"):
        module.reproduce(tmp_path / "x.safetensors")


def test_files_whose_origin_cannot_be_trained_again(run, again, tmp_path):
    path, *_ = changed(run, tmp_path, images="128")
    with pytest.raises(UserError, match="within epoch 3, after 128 images|within epoch 2, after 128 images"):
        module.reproduce(path, again)
    path, *_ = changed(run, tmp_path, epoch=None)
    with pytest.raises(UserError, match="does not record after which epoch"):
        module.reproduce(path, again)
    path, *_ = changed(run, tmp_path, recipe='{"shedule": {}}')
    with pytest.raises(UserError, match="Recipe key `shedule` is unknown"):
        module.reproduce(path, again)
    with pytest.raises(UserError, match="is the run of .*best.safetensors: give --output another folder"):
        module.reproduce(run / "checkpoints" / "best.safetensors", run)
    other, _ = made_run(tmp_path / "other", recipe())
    with pytest.raises(UserError, match="has a run of another recipe: give --output another folder"):
        module.reproduce(run / "checkpoints" / "best.safetensors", other)


def test_data_that_are_gone_or_others(run, tmp_path):
    root = photos(tmp_path / "data")
    gone = tiny(data={"source": "image_folder", "data_dir": str(root)}).to_json()
    path, *_ = changed(run, tmp_path, recipe=gone, about=json.dumps({"number of training images": "7"}))
    with pytest.raises(UserError, match="The data are not those of .*copy.safetensors: the number of training images "
                                        "was 7, is 33. Name the folder of its data with --data-dir."):
        module.reproduce(path, tmp_path / "again")
    root.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="The data of .*copy.safetensors cannot be opened: .* does not exist"):
        module.reproduce(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
def test_an_interrupted_reproduction_says_how_to_go_on(run, tmp_path, monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    path, fit = run / "checkpoints" / "best.safetensors", training._fit
    monkeypatch.setattr(training, "_fit", lambda a, b, c, callback_list, *rest: fit(
        a, b, c, [Stop(), *callback_list], *rest))
    with pytest.raises(callbacks.Interrupted, match="Continue with: keras-tricks reproduce .*best.safetensors "
                                                    f"--output {tmp_path / 'again'}$") as stopped:
        module.reproduce(path, tmp_path / "again")
    assert "train --resume" not in str(stopped.value)
    monkeypatch.undo()
    assert module.reproduce(path, tmp_path / "again").equal, "it continues where it stopped"
