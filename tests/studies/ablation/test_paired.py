"""The paired interval of an ablation against scipy's paired t-test and numbers by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from keras_tricks import cli
from keras_tricks.studies.ablation import AblationRow, Result, paired_differences
from keras_tricks.studies.ablation.paired import PairedDifference, paired_interval

ROWS = [AblationRow("baseline", None), AblationRow("+ warmup", None, 0), AblationRow("+ mixup", None, 1)]


def results_of(*rows):
    return [Result(number, seed, top1, 8, 100, 2.0 + number) for number, row in enumerate(rows)
            for seed, top1 in enumerate(row)]


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_interval_is_that_of_scipys_paired_test(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(70, 2, n), rng.normal(71, 2, n)
    test = stats.ttest_rel(second, first)
    for confidence in (0.9, 0.95, 0.99):
        mean, low, high = paired_interval(list(second - first), confidence)
        wanted = test.confidence_interval(confidence)
        assert (mean, low, high) == pytest.approx((np.mean(second - first), wanted.low, wanted.high), rel=1e-9)
    excluded = not low <= 0 <= high
    assert excluded == (test.pvalue < 0.01)


def test_the_interval_by_hand():
    """t of 2 degrees of freedom is 4.302653 at 97.5 %; the differences 1, 2, 3 have the deviation 1."""
    mean, low, high = paired_interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    assert paired_interval([1.5]) == (1.5, None, None)


def test_pairing_sees_what_separate_means_do_not():
    """The seeds differ by 10 points, the rows by one in every seed."""
    better, same = paired_differences(ROWS, results_of((60, 70, 80), (61.1, 70.9, 81), (62, 70, 81)))
    assert (better.seeds, better.mean, better.verdict) == (3, pytest.approx(1.0), "better")
    assert better.low > 0.7 and better.minutes_per_point == pytest.approx(1.0)
    assert (same.verdict, same.minutes_per_point) == ("not decided", None) and same.low < 0 < same.high
    assert str(better) == ("+ warmup: +1.00 [+0.75, +1.25] points over baseline, 3 paired seeds, better, +1.00 minutes "
                           "per point")


def test_worse_and_one_seed():
    worse, _ = paired_differences(ROWS, results_of((60, 70), (59, 69.001), (1, 2)))
    assert worse.verdict == "worse" and worse.minutes_per_point is None
    one, _ = paired_differences(ROWS, results_of((60,), (70,), (70,)))
    assert (one.low, one.verdict) == (None, "not decided")
    assert str(one) == "+ warmup: +10.00 points over baseline, 1 paired seeds, not decided, +1.00 minutes"


def test_a_run_that_diverged_has_no_pair():
    (only,) = paired_differences(ROWS, results_of((60, 70, 80), (61, None, 81), (None, 5, None)))
    assert isinstance(only, PairedDifference) and (only.name, only.seeds, only.mean) == ("+ warmup", 2, 1.0)


@pytest.mark.slow
def test_the_command_prints_it(tmp_path, capsys):
    changes = ("model.name=test_resnet", 'model.options={"stem": "cifar"}', "data.image_size=8", "schedule.epochs=1",
               "data.train_images=128", "schedule.warmup_epochs=0")
    words = ["ablate", "quickstart", "--add", "optimizer.momentum=0.5", "--seeds", "2", "--output", str(tmp_path / "a")]
    args = cli.parse(["keras-tricks", *words, *(word for change in changes for word in ("--set", change))])
    args.run(args)
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("+ optimizer.momentum=0.5: "))
    assert "over baseline, 2 paired seeds" in line and "minutes" in line
