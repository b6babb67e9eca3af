"""`keras-tricks predict`: from a checkpoint, for files, folders, patterns and lists, as text, JSON and CSV."""

import csv
import io
import json
import os

import keras
import numpy as np
import pytest
from PIL import Image
from support.photos import CLASSES, answers, made_run, photos, recipe

from keras_tricks import cli
from keras_tricks.utils.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that exported nothing."""
    return made_run(tmp_path_factory.mktemp("runs") / "run", recipe())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("images"), count=13)


def predict(run, *words):
    args = cli.parse(["keras-tricks", "predict", str(run[0]), *map(str, words)])
    args.run(args)


def test_a_run_without_an_export(run, images, capsys):
    photo = next((images / "cat").glob("*.png"))
    predict(run, photo, "--top", 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(photo) and len(lines) == 3
    assert lines[1].split()[-1] == CLASSES[answers(run[1], [photo])[0]]


def test_json_of_a_folder_in_several_batches(run, images, capsys):
    predict(run, images, "--format", "json")
    found = json.loads(capsys.readouterr().out)
    paths = [answer["path"] for answer in found]
    assert paths == sorted(map(str, images.rglob("*.png"))) and len(paths) == 39  # more than a batch of 32
    best = [max(answer["answers"], key=lambda a: a["probability"])["label"] for answer in found]
    assert best == [CLASSES[i] for i in answers(run[1], paths)]
    for answer in found:
        assert sum(a["probability"] for a in answer["answers"]) == pytest.approx(1.0, abs=1e-5)
        assert [a["label"] for a in answer["answers"]][0] == best[found.index(answer)]


def test_csv_of_a_pattern(run, images, capsys):
    predict(run, images / "*" / "1*.png", "--format", "csv", "--top", 1)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == sorted(map(str, images.glob("*/1*.png")))
    assert {row["rank"] for row in rows} == {"1"} and all(0 < float(row["probability"]) <= 1 for row in rows)


def test_a_list_on_standard_input(run, images, capsys, monkeypatch):
    chosen = sorted(map(str, images.glob("cat/*.png")))[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*chosen, "", ""])))
    predict(run, "-", "--top", 1)
    assert capsys.readouterr().out.splitlines()[::2] == chosen
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(UserError, match="predict received no image: the list on standard input is empty"):
        predict(run, "-")


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_broken_files_are_named_and_the_rest_is_predicted(run, images, tmp_path, capsys, form):
    photo = next((images / "cat").glob("*.png"))
    for name in ("a", "b", "d"):
        (tmp_path / f"{name}.png").write_bytes(photo.read_bytes())
    (tmp_path / "c.png").write_bytes(b"broken")
    with pytest.raises(SystemExit) as stopped:
        predict(run, tmp_path, tmp_path / "missing.png", "--format", form)
    out, err = capsys.readouterr()
    assert stopped.value.code == 1
    named = [line for line in err.splitlines() if line.startswith("keras-tricks: ")]
    assert len(named) == 2 and "c.png cannot be read (" in named[0] and "missing.png cannot be read (" in named[1]
    found = {"text": lambda: [line for line in out.splitlines() if line.endswith(".png")],
             "json": lambda: [answer["path"] for answer in json.loads(out)],
             "csv": lambda: list(dict.fromkeys(row["path"] for row in csv.DictReader(io.StringIO(out))))}[form]()
    assert found == [str(tmp_path / f"{name}.png") for name in ("a", "b", "d")]


def test_nothing_but_broken_files_is_still_json(run, tmp_path, capsys):
    (tmp_path / "c.png").write_bytes(b"broken")
    with pytest.raises(SystemExit):
        predict(run, tmp_path, "--format", "json")
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_in_a_folder_is_not_opened(run, images, tmp_path, capsys):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "a.png").write_bytes(next((images / "cat").glob("*.png")).read_bytes())
    predict(run, tmp_path, "--top", 1)
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "a.png")


def test_a_format_that_there_is_not(run, images, capsys):
    with pytest.raises(SystemExit) as stopped:
        predict(run, images, "--format", "yaml")
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and "yaml" in error and "json" in error


def test_mistakes(run, images, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no images"):
        predict(run, tmp_path / "empty")
    with pytest.raises(UserError, match="No file matches .*nothing-.*"):
        predict(run, tmp_path / "nothing-*.png")
    with pytest.raises(UserError, match="A run predicts with its own weights"):
        predict(run, images, "--weights", "other.safetensors")
    with pytest.raises(UserError, match="is of test_resnet, not of resnet50d"):
        args = cli.parse(["keras-tricks", "predict", "resnet50d", str(images), "--weights", str(run[0])])
        args.run(args)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "recipe.json").write_text(recipe().to_json())
    (bare / "classes.json").write_text(json.dumps(CLASSES))
    with pytest.raises(UserError, match="has no checkpoint yet"):
        predict((bare,), images)


def test_the_name_of_a_model_with_the_weights_of_a_run(run, images, capsys):
    photo = next((images / "cat").glob("*.png"))
    predict(run, photo)
    of_run = capsys.readouterr().out
    args = cli.parse(["keras-tricks", "predict", "test_resnet", str(photo), "--weights", str(run[0])])
    args.run(args)
    assert capsys.readouterr().out == of_run


def test_an_export_without_checkpoints_answers_too(run, images, tmp_path, capsys):
    from keras_tricks.cli.export import ExportOptions, export_run

    folder, network = made_run(tmp_path / "run", recipe())
    export_run(folder, ExportOptions(("keras",)))
    (folder / "checkpoints" / "best.safetensors").unlink()
    (folder / "checkpoints").rmdir()
    paths = sorted(images.glob("dog/*.png"))
    predict((folder,), *paths, "--top", 1)
    labels = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1::2]]
    assert labels == [CLASSES[i] for i in answers(network, paths)]
    assert keras.config.dtype_policy().name == "float32" and len(np.unique(labels)) >= 1


# ---- embeddings


@pytest.mark.parametrize("form", ["text", "csv"])
def test_embeddings_are_the_feature_vectors_of_the_images_that_can_be_read(run, images, tmp_path, capsys, form):
    from keras_tricks.evaluation import load_run
    from keras_tricks.export import deployable, without_classifier

    own_recipe, _ = load_run(run[0])
    model = without_classifier(deployable(lambda: run[1], run[1], own_recipe.data))
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(SystemExit):
        predict(run, tmp_path / "broken.png", images, "--format", form, "--embeddings", tmp_path / "new" / "e.npy")
    found = np.load(tmp_path / "new" / "e.npy")
    paths = sorted(map(str, images.rglob("*.png")))
    pixels = np.stack([np.asarray(Image.open(path), "float32") for path in paths])
    expected = keras.ops.convert_to_numpy(model(pixels))
    assert found.dtype == "float32" and found.shape == expected.shape == (39, model.output_shape[-1])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    capsys.readouterr()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")
def test_embeddings_are_those_of_the_exported_feature_vector(run, images, tmp_path, capsys):
    import tensorflow as tf

    from keras_tricks.cli.export import ExportOptions, export_run

    written = export_run(run[0], ExportOptions(("feature_vector",)), tmp_path / "export")
    paths = sorted(map(str, images.rglob("1*.png")))
    predict(run, *paths, "--embeddings", tmp_path / "e.npy")
    loaded = tf.saved_model.load(str(written["feature_vector"]))
    expected = loaded.serve(np.stack([np.asarray(Image.open(path), "float32") for path in paths]))
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), expected, atol=1e-6)
    capsys.readouterr()


def test_embeddings_with_nowhere_to_go(run, images, tmp_path, capsys):
    with pytest.raises(UserError, match="--embeddings writes a NumPy file, whose name ends in .npy. Received: .*e.csv"):
        predict(run, images, "--embeddings", tmp_path / "e.csv")
    (tmp_path / "f.npy").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        predict(run, images, "--embeddings", tmp_path / "f.npy")
    (tmp_path / "c.png").write_bytes(b"broken")
    with pytest.raises(SystemExit):
        predict(run, tmp_path / "c.png", "--embeddings", tmp_path / "e.npy")
    assert not (tmp_path / "e.npy").exists() and capsys.readouterr().out == ""


# ---- on a terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_leaves_the_output_clean(run, images, capsys, monkeypatch):
    monkeypatch.setattr(cli.predict._Bar, "EVERY", 0.0)
    monkeypatch.setattr("sys.stderr", Terminal())
    predict(run, images, "--format", "csv", "--top", 1)
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 39
    import sys

    shown = sys.stderr.getvalue()
    assert "38 of 39 images, " in shown and shown.endswith("\r\033[K")


def test_no_bar_elsewhere(run, images, capsys):
    predict(run, images)
    assert "images/s" not in capsys.readouterr().err


def test_a_list_that_names_a_missing_file(run, images, tmp_path, capsys, monkeypatch):
    chosen = sorted(map(str, images.glob("cat/*.png")))[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([chosen[0], str(tmp_path / "no.png"), chosen[1]])))
    with pytest.raises(SystemExit) as stopped:
        predict(run, "-", "--top", 1)
    out, err = capsys.readouterr()
    assert stopped.value.code == 1 and out.splitlines()[::2] == chosen
    assert [line for line in err.splitlines() if line.startswith("keras-tricks")] == [
        f"keras-tricks: {tmp_path / 'no.png'} cannot be read (No such file or directory)"]
