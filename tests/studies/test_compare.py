"""`keras-tricks compare`: means and spreads calculated by hand, runs of different lengths, non-finite losses."""

import csv
import json
import math
import statistics

import pytest

from keras_tricks import cli
from keras_tricks.recipe import Recipe
from keras_tricks.studies import compare
from keras_tricks.utils.errors import UserError


def run(folder, name, losses, accuracies, updates=10, averaged=None, classes=None, **changes):
    folder.mkdir()
    (folder / "recipe.json").write_text(Recipe(name=name).replace(**changes).to_json())
    if classes:
        (folder / "classes.json").write_text(json.dumps(classes))
    with open(folder / "summary.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train_loss", "top1", "seconds", "ema_top1"])
        for epoch, (loss, top1) in enumerate(zip(losses, accuracies, strict=True), start=1):
            writer.writerow([epoch, epoch * updates, loss, top1, 30, averaged[epoch - 1] if averaged else ""])
    return folder


def rows(*folders):
    """The lines of the table: the label, and the numbers as far as they are there."""
    groups = compare.read_groups(folders)
    lines = compare.table(groups).splitlines()[1:]
    assert all(line.startswith(group.name) for group, line in zip(groups, lines, strict=True))
    return [[group.name, *line[len(group.name):].split()] for group, line in zip(groups, lines, strict=True)]


@pytest.fixture
def runs(tmp_path):
    return [run(tmp_path / "a0", "a", (2.0, 1.0, 0.5), (10, "", 30)),
            run(tmp_path / "b0", "b", (2.0, "nan"), (20, 10), updates=5, schedule={"batch_size": 512}),
            run(tmp_path / "a1", "a", (4.0, 2.0), (20, ""), seed=1)]


def test_runs_of_one_recipe_are_averaged_as_far_as_all_of_them_go(runs):
    a, b = compare.read_groups(runs)
    assert (a.name, len(a.rows), b.name) == ("a", 2, "b")
    assert a.values("train_loss") == [(3.0, statistics.stdev([2, 4]), 1, 10), (1.5, statistics.stdev([1, 2]), 2, 20)]
    assert a.values("top1") == [(15.0, statistics.stdev([10, 20]), 1, 10)], "without epochs that were not evaluated"
    assert a.last("top1") == [10, 20]


def test_a_run_that_diverged(runs):
    points = compare.read_groups(runs)[1].values("train_loss")
    assert points[0] == (2.0, 0.0, 1, 5) and math.isnan(points[1][0])


def test_table_and_picture(runs, tmp_path, capsys):
    args = cli.parse(["keras-tricks", "compare", *map(str, runs), "--output", str(tmp_path / "c.png")])
    args.run(args)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["a", "2", "2", "20", "15.00", "7.07", "5.00", "1.0"]
    assert lines[2].split() == ["b", "1", "2", "10", "10.00", "1.0"], "one run has no standard deviation"
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        compare.read_groups([tmp_path])


# ---- which runs are the same experiment


def test_recipes_of_one_name_are_told_apart_by_what_differs(tmp_path):
    folders = [run(tmp_path / str(i), "quickstart", (1.0,), (top1,), seed=seed, optimizer={"weight_decay": decay},
                   model={"options": options})
               for i, (top1, seed, decay, options) in enumerate([
                   (10, 0, 1e-4, {}), (20, 0, 1e-3, {}), (30, 1, 1e-4, {}), (40, 0, 1e-4, {"stem": "cifar"})])]
    found = rows(*folders)
    assert [row[:2] for row in found] == [
        ["quickstart optimizer.weight_decay=0.0001", "2"], ["quickstart optimizer.weight_decay=0.001", "1"],
        ['quickstart optimizer.weight_decay=0.0001 model.options.stem="cifar"', "1"]]
    assert [row[4:] for row in found] == [
        ["20.00", "14.14", "10.00", "0.5"], ["20.00", "0.5"], ["40.00", "0.5"]], "one run has no standard deviation"


def test_runs_from_other_weights_or_on_other_classes_are_other_experiments(tmp_path):
    folders = [run(tmp_path / "a", "x", (1.0,), (10,), classes=["cat", "dog"]),
               run(tmp_path / "b", "x", (1.0,), (10,), classes=["cat", "cow"]),
               run(tmp_path / "c", "x", (1.0,), (10,), classes=["cat", "dog"], model={"weights": "w.safetensors"})]
    assert [row[0] for row in rows(*folders)] == [
        "x classes=cat, dog model.weights=null", "x classes=cat, cow model.weights=null",
        'x classes=cat, dog model.weights="w.safetensors"']


def test_what_trains_nothing_does_not_divide_runs(tmp_path):
    folders = [run(tmp_path / "a", "x", (1.0,), (10,)),
               run(tmp_path / "b", "y", (1.0,), (20,), seed=1, about={"note": "on the other machine"},
                   export={"formats": ()}, train={"checkpoint_minutes": 1.0}, data={"workers": 4})]
    assert [row[:2] for row in rows(*folders)] == [["x, y", "2"]]


def test_a_folder_counts_once_and_equal_seeds_are_no_spread(tmp_path, monkeypatch, caplog):
    a, b = run(tmp_path / "a", "x", (1.0,), (10,)), run(tmp_path / "b", "x", (1.0,), (10,))
    monkeypatch.chdir(tmp_path)
    assert rows(a, tmp_path / "b" / ".." / "a", "a")[0][1] == "1"
    assert rows(a, b)[0][1] == "2" and "2 runs have the seed 0. They are not independent" in caplog.text


def test_a_run_with_an_average_is_compared_by_it(tmp_path):
    average = run(tmp_path / "a", "x", (1.0, 0.5), (10, 20), averaged=(30, 40), optimizer={"ema_decay": 0.9})
    (group,) = compare.read_groups([average])
    assert group.last("top1") == [40] and [value for value, *_ in group.values("top1")] == [30, 40]
