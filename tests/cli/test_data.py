"""`keras-tricks data check` and `data pack`: every source, columns of other names, suspicious labels of a run."""

import pytest
from support.photos import photos, recipe
from support.sources import SOURCES
from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: F401

import keras_tricks as kt
from keras_tricks import cli
from keras_tricks.data import open_source
from keras_tricks.utils.errors import UserError

NAMED = {name: SOURCES[name] for name in ("csv", "hf", "webdataset", "import path")}


def data(*words):
    args = cli.parse(["keras-tricks", "data", *map(str, words)])
    args.run(args)


def words_of(options):
    source, folder = options["source"], options.get("data_dir")
    return [source, *(["--data-dir", folder] if folder else [])]


@pytest.mark.parametrize("name", NAMED)
def test_every_source_is_checked_and_packed(name, tmp_path, capsys):
    _, options = NAMED[name](tmp_path)
    data("check", *words_of(options), "--duplicates")
    lines = capsys.readouterr().out.splitlines()
    assert "training          120 images" in lines and "validation         40 images" in lines
    assert "leaks               0 pictures are in training and in validation" in lines
    data("pack", *words_of(options), "--output", tmp_path / "packed")
    packed = open_source("tfrecord", tmp_path / "packed")
    assert (packed.train.num_examples, packed.validation.num_examples) == (120, 40)


@pytest.mark.parametrize("how", ["options", "set"])
def test_columns_of_other_names(how, tmp_path, capsys):
    photos(tmp_path / "photos", count=12)
    lines = [f"photos/{path.parent.name}/{path.name},{path.parent.name}"
             for path in sorted((tmp_path / "photos").rglob("*.png"))]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,animal", *lines]) + "\n")
    named = ["--image-column", "file", "--label-column", "animal"]
    named = ["--set", "data.image_column=file", "--set", "data.label_column=animal"] if how == "set" else named
    with pytest.raises(UserError, match="column"):
        data("check", "csv", "--data-dir", table)
    data("check", "csv", "--data-dir", table, *named)
    assert "training           33 images" in capsys.readouterr().out
    data("pack", "csv", "--data-dir", table, *named, "--output", tmp_path / "packed")
    assert open_source("tfrecord", tmp_path / "packed").class_names == ("cat", "dog", "ship")


@pytest.mark.parametrize("words, message", [
    (["check"], "data check needs a source, such as image_folder, or --labels RUN"),
    (["check", "digits", "--set", "model.name=x"], "--set changes the section data here"),
    (["check", "digits", "--set", "data.sauce=x"], "Did you mean"),
    (["check", "--labels", "no/such/run"], "no/such/run is not a run folder"),
])
def test_mistakes(words, message):
    with pytest.raises(UserError, match=message):
        data(*words)


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory):
    """(a run on digits 0 to 2, the validation files whose label is wrong)."""
    root = tmp_path_factory.mktemp("data")
    photos(root / "train", count=80)
    photos(root / "val", count=60, first=80)
    wrong = set()
    for i, (name, other) in enumerate((("cat", "dog"), ("dog", "ship"), ("ship", "cat"))):
        for path in sorted((root / "val" / name).glob("*.png"))[i : 12 : 4]:
            moved = root / "val" / other / f"from_{name}_{path.name}"
            path.rename(moved)
            wrong.add(str(moved))
    folder = tmp_path_factory.mktemp("runs") / "run"
    kt.train(recipe(root, schedule={"batch_size": 16, "epochs": 4, "base_learning_rate": 0.5}), folder, verbose=0)
    return folder, wrong


@pytest.mark.slow
def test_wrong_labels_are_found_by_a_run(mislabelled, capsys):
    folder, wrong = mislabelled
    data("check", "--labels", folder)
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.endswith(" validation images") and "suspicious" in line)
    count = int(lines[place].split()[1])
    named = {line.split(": labelled")[0].strip() for line in lines[place + 1 : place + 1 + count]}
    assert len(wrong) == 9 and len(wrong & named) >= 8
    assert len(named - wrong) <= 3  # false alarms among 171 right labels
    assert "of 240 training images" in lines[place + 1 + count]
