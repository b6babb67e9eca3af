"""`keras-tricks compare`: means and spreads by hand, runs of unlike length, losses that are not finite."""

import csv
import math
import statistics

import pytest

from keras_tricks import cli
from keras_tricks.recipe import Recipe
from keras_tricks.studies import compare
from keras_tricks.utils.errors import UserError


def run(folder, name, losses, accuracies, updates=10):
    folder.mkdir()
    (folder / "recipe.json").write_text(Recipe(name=name).to_json())
    with open(folder / "summary.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train_loss", "top1", "seconds"])
        for epoch, (loss, top1) in enumerate(zip(losses, accuracies, strict=True), start=1):
            writer.writerow([epoch, epoch * updates, loss, top1, 30])
    return folder


@pytest.fixture
def runs(tmp_path):
    return [run(tmp_path / "a0", "a", (2.0, 1.0, 0.5), (10, "", 30)),
            run(tmp_path / "b0", "b", (2.0, "nan"), (20, 10), updates=5),
            run(tmp_path / "a1", "a", (4.0, 2.0), (20, ""))]


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
    assert lines[2].split() == ["b", "1", "2", "10", "10.00", "nan", "nan", "1.0"]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        compare.read_groups([tmp_path])
