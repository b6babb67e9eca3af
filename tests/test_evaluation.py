"""Evaluating a run: on which images, with which labels, and what is said of the result."""

import json

import numpy as np
import pytest
from support.photos import CLASSES, answers, made_run, photos, recipe
from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: F401

import keras_tricks as kt
from keras_tricks import cli, evaluation
from keras_tricks.run.weights import run_weights
from keras_tricks.utils.errors import UserError


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """A flat folder: 12 images of each class, of which training holds out one."""
    return photos(tmp_path_factory.mktemp("data") / "own")


@pytest.fixture(scope="module")
def run(own_data, tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("runs") / "run", recipe(own_data))


def evaluated(run, *words):
    """The lines that `keras-tricks evaluate` prints."""
    args = cli.parse(["keras-tricks", "evaluate", str(run[0]), *map(str, words)])
    args.run(args)


def by_hand(network, root, labels=CLASSES, renamed=None):
    """(images, top-1 in percent) of all class folders under `root`."""
    files = [path for path in sorted(root.rglob("*.png"))]
    truth = [labels.index((renamed or {}).get(path.parent.name, path.parent.name)) for path in files]
    return len(files), 100 * np.mean(answers(network, files) == np.array(truth))


def expected(network, *args, **kwargs):
    count, top1 = by_hand(network, *args, **kwargs)
    return f"images      {count}\n", f"top1        {top1:.2f} %"


# ---- which images


def test_a_flat_folder_of_others_is_measured_whole(run, tmp_path, capsys):
    root = photos(tmp_path / "flat", count=20, first=20)
    evaluated(run, "--data-dir", root)
    out = capsys.readouterr().out
    assert all(line in out for line in expected(run[1], root)) and "images      60" in out


def test_the_runs_own_data_are_measured_where_it_did_not_train(run, own_data, capsys):
    evaluated(run)
    assert "images      3\n" in capsys.readouterr().out
    evaluated(run, "--data-dir", own_data / ".." / own_data.name)  # the same folder
    assert "images      3\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_folder_with_only_a_validation_folder(run, tmp_path, capsys, name):
    photos(tmp_path / "data" / name, first=20)
    evaluated(run, "--data-dir", tmp_path / "data")
    out = capsys.readouterr().out
    assert all(line in out for line in expected(run[1], tmp_path / "data"))


# ---- which labels


def test_some_of_the_classes_by_name(run, tmp_path, capsys):
    root = photos(tmp_path / "some", ("ship", "dog"), first=20)
    evaluated(run, "--data-dir", root)
    out = capsys.readouterr().out
    assert all(line in out for line in expected(run[1], root)) and "images of cat" not in out


def test_other_classes_are_refused_and_named(run, tmp_path):
    root = photos(tmp_path / "other", ("1", "10", "2"), first=20)
    with pytest.raises(UserError, match="has classes that the model does not have: 1, 10, 2.*--class-map FILE"):
        evaluated(run, "--data-dir", root)


def test_a_map_of_names(run, tmp_path, capsys):
    root = photos(tmp_path / "other", ("1", "10", "2"), first=20)
    names = {"1": "dog", "10": "cat", "2": "dog"}
    (tmp_path / "map.json").write_text(json.dumps(names))
    evaluated(run, "--data-dir", root, "--class-map", tmp_path / "map.json")
    out = capsys.readouterr().out
    assert all(line in out for line in expected(run[1], root, renamed=names))


def test_permuted_classes_equal_the_right_ones(run, tmp_path, capsys):
    """Folders that sort in another order, mapped by name, and a CSV file that numbers its classes in another order."""
    root = photos(tmp_path / "right", count=20, first=20)
    evaluated(run, "--data-dir", root)
    right = capsys.readouterr().out
    names = dict(zip(("z", "y", "x"), CLASSES, strict=True))
    permuted = photos(tmp_path / "permuted", tuple(names), count=20, first=20)
    (tmp_path / "map.json").write_text(json.dumps(names))
    evaluated(run, "--data-dir", permuted, "--class-map", tmp_path / "map.json")
    assert capsys.readouterr().out == right
    lines = [f"{path.relative_to(root)},{path.parent.name}" for path in sorted(root.rglob("*.png"))]
    (root / "all.csv").write_text("\n".join(["path,label", *reversed(lines)]) + "\n")
    (root / "classes.txt").write_text("\n".join(CLASSES[::-1]) + "\n")
    evaluated(run, "--set", "data.source=csv", "--data-dir", root / "all.csv")
    assert capsys.readouterr().out == right


@pytest.mark.parametrize("content, words", [
    ('{"1": "cow"}', "the weights have no class 'cow'"), ("[1]", "must hold a JSON object of names"),
    ('{"1": 2}', "must hold a JSON object of names"), ("{", "must hold a JSON object of names"),
])
def test_maps_that_are_none(run, tmp_path, content, words):
    root = photos(tmp_path / "other", ("1", "10", "2"), first=20)
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(UserError, match=words):
        evaluated(run, "--data-dir", root, "--class-map", tmp_path / "map.json")


def test_own_data_whose_classes_were_renamed_meanwhile(tmp_path, capsys):
    """The same three names in another order of labels: `Ship` sorts before `cat`."""
    root = photos(tmp_path / "data", ("cat", "dog", "Ship"))
    folder, network = made_run(tmp_path / "run", recipe(root), ("cat", "dog", "Ship"))
    evaluated((folder, network))
    assert "images      3\n" in capsys.readouterr().out
    (root / "cat").rename(root / "cow")
    with pytest.raises(UserError, match="only in the data: cow; only in the weights: cat"):
        evaluated((folder, network))


def test_a_folder_for_a_run_on_digits_is_refused(tmp_path):
    folder, _ = made_run(tmp_path / "run", recipe(data={"source": "digits"}), tuple("0123456789"))
    with pytest.raises(UserError, match="The source digits reads no folder: add --set data.source=image_folder"):
        evaluated((folder, None), "--data-dir", tmp_path)


# ---- what is said


def test_weights_count_interval_and_the_worst_classes(run, tmp_path, capsys):
    root = photos(tmp_path / "flat", count=20, first=20)
    (root / "cat" / "broken.png").write_bytes(b"broken")
    evaluated(run, "--data-dir", root)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"weights     raw, after epoch 1 ({run[0] / 'checkpoints' / 'best.safetensors'})"
    assert lines[1] == "images      60, and 1 that cannot be read"
    _, top1 = by_hand(run[1], photos(tmp_path / "again", count=20, first=20))
    low, high = kt.analysis.wilson_interval(round(0.6 * top1), 60)
    assert lines[3] == (f"top1        {top1:.2f} %, 95 % confidence interval {100 * low:.2f} to {100 * high:.2f} %")
    worst = [line.removeprefix("worst").split() for line in lines[5:]]
    shares = [float(words[0]) for words in worst]
    assert shares == sorted(shares) and {words[-1] for words in worst} == set(CLASSES)
    assert all(words[1:-1] == ["%", "of", "20", "images", "of"] for words in worst)


def test_evaluate_of_the_library(run, own_data):
    values = kt.evaluate(recipe(own_data), run[0])
    assert set(values) == {"loss", "top1", "top5"} and values["top5"] == 1.0
    assert values == kt.evaluate(recipe(own_data), run_weights(run[0]).path)


def test_evaluate_leaves_the_process_as_it_was(run, own_data):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    evaluation.evaluate(recipe(own_data), run[0])
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert np.random.get_state()[1].tolist() == before


def test_views_of_each_image(run, capsys):
    """Test-time augmentation: the same images, another loss."""
    found = {}
    for views in ("one", "flip_translate"):
        capsys.readouterr()
        evaluated(run, "--views", views)
        found[views] = capsys.readouterr().out
    assert "views       flip_translate" in found["flip_translate"] and "views" not in found["one"]
    loss = [next(line for line in text.splitlines() if line.startswith("loss")) for text in found.values()]
    assert loss[0] != loss[1]
