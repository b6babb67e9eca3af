"""`plan` and `evaluate` as JSON, and what a run will cost."""

import json

import pytest
from support.photos import made_run, photos, recipe
from support.tiny_runs import NO_EXPORT, leave_tensorflow_as_it_was, tiny  # noqa: F401

from keras_tricks import cli
from keras_tricks.analysis import wilson_interval


def run(*words):
    args = cli.parse(["keras-tricks", *map(str, words)])
    args.run(args)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "tiny.json"
    path.write_text(tiny(export=NO_EXPORT).to_json())
    return path


def test_the_plan_as_json(recipe_file, capsys):
    run("plan", recipe_file, "--format", "json", "--set", "schedule.epochs=4")
    found = json.loads(capsys.readouterr().out)
    assert (found["epochs"], found["training_images"], found["classes"]) == (4, 1198, 10)
    assert found["updates"] == 4 * (1198 // 128) and "measured" not in found
    assert sum(phase["epochs"] for phase in found["phases"]) == 4 and found["phases"][0]["batch_size"] == 128
    assert found["memory"] > found["parameters"] * 4


def test_the_cost_is_measured_when_asked(recipe_file, capsys):
    run("plan", recipe_file, "--measure", "--format", "json")
    found = json.loads(capsys.readouterr().out)["measured"]
    assert found["seconds"] > 18 * found["step_seconds"] + 2 * found["evaluation_seconds"] > 0
    assert found["seconds"] == pytest.approx(
        found["prepare_seconds"] + found["start_seconds"] + 18 * found["step_seconds"]
        + 2 * (found["evaluation_seconds"] + found["checkpoint_seconds"]) + found["export_seconds"])
    assert min(found["prepare_seconds"], found["checkpoint_seconds"]) > 0
    assert found["largest_batch"] is None or found["largest_batch"] > 128


def test_the_cost_that_plan_prints(capsys):
    from keras_tricks.cli.plan import describe_cost
    from keras_tricks.studies.step_time import RunCost

    class Phase:
        step_size = 64

    lines = list(describe_cost(RunCost(0.05, 2.0, 9.0, 7200.0, 2**30, None, 5.0, 0.25, 3.0), [Phase]))
    assert lines == ["measured    50 ms a step of 64 images: 1,280 images/s; 2.0 s an evaluation",
                     "time        about 120.0 minutes: 14 s before the first step and in compilation, "
                     "0.2 s a checkpoint, 3 s of export",
                     "used        1.00 GiB by this process at most", "fits        unknown on this device"]


def test_an_evaluation_as_json(tmp_path, capsys):
    folder, _ = made_run(tmp_path / "run", recipe(photos(tmp_path / "data")))
    run("evaluate", folder, "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 3 and found["broken"] == 0
    assert [c["name"] for c in found["classes"]] == ["cat", "dog", "ship"]
    assert found["interval"] == pytest.approx(wilson_interval(3 * found["top1"], 3), abs=1e-6)
    for row in found["classes"]:
        assert row["images"] == 1 and row["top1"] == row["correct"]
