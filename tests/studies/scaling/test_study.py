"""`keras-tricks scale`: files, times, budgets, training and resuming, through the command line."""

import csv

import keras
import numpy as np
import pytest

from keras_tricks import cli
from keras_tricks.studies import scaling
from keras_tricks.studies.scaling import GridRow, parse_budget, report, timing
from keras_tricks.studies.scaling.grid import Candidate
from keras_tricks.utils.errors import UserError

SMALL = ["scale", "--widths", "0.0625", "0.125", "--depths", "26", "50", "--resolutions", "32", "64"]
pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")


def run(*words):
    args = cli.parse(["keras-tricks", *map(str, words)])
    args.run(args)


def table(folder):
    with open(folder / "scaling.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_costs_only(tmp_path, capsys):
    run(*SMALL, "--output", tmp_path, "--budget", "macs=5M", "--budget", "memory=1GiB")
    rows = table(tmp_path)
    assert len(rows) == 8 and {row["times"] for row in rows} == {""}
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    front = [(int(r["memory_bytes"]), int(r["macs"])) for r in rows if r["pareto"] == "1"]
    for row in rows:  # a network is on the front, or one of the front has as many multiply-adds in no more memory
        here = int(row["memory_bytes"]), int(row["macs"])
        assert here in front or any(m <= here[0] and w >= here[1] for m, w in front)
    out = capsys.readouterr().out
    assert "8 networks" in out and "Budget macs=5M" in out and "long training" in out and "The paper's rules" in out


def test_a_budget_that_no_network_fits(tmp_path):
    with pytest.raises(UserError, match="No candidate fits the budget macs=10. The nearest is width 0.0625, depth 26, "
                                        "32 pixels"):
        run(*SMALL, "--output", tmp_path, "--budget", "macs=10")
    with pytest.raises(UserError, match="latency budget needs measured times"):
        run(*SMALL, "--output", tmp_path, "--budget", "latency=5ms")


def test_invalid_budgets():
    assert parse_budget("macs=4.5G") == ("macs", 4.5e9)
    assert parse_budget("latency=20ms") == ("latency", 0.02) and parse_budget("latency=2s") == ("latency", 2)
    assert parse_budget("memory=8GiB") == ("memory", 8 * 2**30)
    for text, words in {"mac=4G": 'Did you mean "macs"', "macs=lots": "a number above 0", "memory=8": "MiB, GiB",
                        "latency=-1ms": "a number above 0", "macs": "a number above 0"}.items():
        with pytest.raises(UserError, match=words):
            parse_budget(text)
    for words, message in ((["--train", "epochs=0"], "epochs=K"), (["--train", "5"], "epochs=K"),
                           (["--up-to", "much"], "--up-to takes a number .* Received: 'much'")):
        with pytest.raises(UserError, match=message):
            run(*SMALL, *words)


def test_measured_rows_are_spread_and_the_others_fitted(monkeypatch):
    rows = [GridRow(Candidate(1.0, 26, size, 10, 0, 1000 * size**2, size**2), memory=size)
            for size in range(32, 132, 10)]
    seen = []

    def fake(function, name, options, image_size, batch_size, steps):
        assert function is timing.time_steps and options == {"width_factor": 1.0} and name == "resnet_rs26"
        seen.append(image_size)
        return {"step": 3e-6 * image_size, "latency": 1e-6 * image_size, "peak_memory": 7}

    monkeypatch.setattr(timing, "run_in_process", fake)
    off = scaling.measure(rows, "resnet_rs", 4, 8, 5, max_macs=1000 * 112**2, max_memory=102)
    assert seen == [32, 52, 82, 102], "the largest that fits, the smallest, and some between"
    assert max(off.values()) < 0.1
    assert [row.measured for row in rows].count(True) == 4
    assert 3e-6 * 102 < rows[-1].step < 3e-6 * 150 and rows[-1].peak_memory is None
    assert scaling.measure(rows[:1], "resnet_rs", 0, 8, 5) is None


def test_more_to_measure_than_there_is(monkeypatch):
    seen = []
    monkeypatch.setattr(timing, "run_in_process", lambda function, name, options, size, *rest:
                        seen.append(size) or {"step": 1.0, "latency": 1.0, "peak_memory": 1.0})
    rows = scaling.make_rows("resnet_rs", [0.0625], [26], [32, 64, 96], 8)
    scaling.measure(rows, "resnet_rs", 22, 8, 5)
    assert seen == [32, 64, 96]


def test_too_few_times_to_fit_the_others(tmp_path):
    """Only two networks are measured, so the front and the picture use memory instead of time."""
    rows = [GridRow(Candidate(1.0, 26, size, 10, 0, 1000 * size**2, size**2), memory=size)
            for size in range(32, 82, 10)]
    rows[0].measured, rows[0].step, rows[0].latency = True, 0.5, 0.1
    assert report.pareto_indices(rows) == [0, 1, 2, 3, 4]
    report.write_csv(rows, tmp_path / "scaling.csv")
    assert [row["times"] for row in table(tmp_path)] == ["measured", "", "", "", ""]
    report.draw(rows, tmp_path / "scaling.png", "title")
    assert "step ms" not in report.describe(rows)


@pytest.mark.slow
def test_times_of_a_real_step():
    done = timing.run_in_process(timing.time_steps, "resnet_rs26", {"width_factor": 0.0625}, 32, 4, 2)
    assert 0 < done["latency"] < done["step"] < 5
    assert done["peak_memory"] > 10 * 2**20  # weights, gradients, momentum and the step itself


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for name, level in (("dark", 40), ("light", 200)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(level, 20, (32, 32, 3)).clip(0, 255)
                keras.utils.save_img(root / split / name / f"{i}.png", pixels, scale=False)
    return root


@pytest.mark.slow
def test_a_trained_grid_continues_where_it_stopped(images, tmp_path, capsys, monkeypatch):
    words = ["scale", "--widths", "0.0625", "0.125", "--depths", "26", "--resolutions", "32", "--train", "epochs=1",
             "--data-dir", images, "--output", tmp_path, "--set", "data.train_images=null",
             "--set", "schedule.batch_size=8"]
    run(*words)
    rows = table(tmp_path)
    assert all(0 <= float(row["error_1_epochs"]) <= 100 for row in rows)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        f"w{w}_d26_r32_e1" for w in ("0.0625", "0.125")]
    assert "1 epoch: points of error removed by doubling the multiply-adds" in capsys.readouterr().out

    from keras_tricks import training

    monkeypatch.setattr(training, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    run(*words)
    assert table(tmp_path) == rows
    with pytest.raises(UserError, match="has a run with other settings"):
        run(*words, "--seed", "5")
