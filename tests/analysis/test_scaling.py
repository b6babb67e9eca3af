"""The scaling study: costs against whole networks; fronts, budgets, fits and verdicts against sums by hand."""

import math

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks import scaling_study
from keras_tricks.analysis import cost, scaling
from keras_tricks.analysis.scaling import Candidate
from keras_tricks.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")


@pytest.mark.parametrize("family, depths", [("resnet_rs", (26, 50)), ("resnet_d", (50, 101))])
def test_costs_are_those_of_the_whole_networks(family, depths):
    built = scaling_study.FAMILIES[family]
    rows = scaling.grid(built.build, built.of_depths(depths), (0.0625, 0.25), (32, 96))
    assert len(rows) == 2 * len(depths) * 2
    for row in rows[:: 1 if family == "resnet_rs" else 5]:
        whole = cost(built.build(row.width, row.depth, row.resolution))
        assert (row.parameters, row.non_trainable) == (whole.parameters, whole.non_trainable), row.name
        assert (row.macs, row.activations) == (whole.macs, whole.activations), row.name


def test_costs_of_the_released_networks():
    rows = scaling_study.rows_of("resnet_rs", (1.0,), (152, 270, 420), (256, 320), batch_size=8)
    found = {(row.candidate.depth, row.candidate.resolution): row.candidate for row in rows}
    assert [found[d, 256].parameters for d in (152, 270, 420)] == [86_621_576, 129_861_448, 191_891_656]
    for key, billions in {(152, 256): 31, (270, 256): 54, (420, 320): 128}.items():  # of the paper, 2 x multiply-adds
        assert 2e-9 * found[key].macs == pytest.approx(billions, rel=0.02)


def some(*triples, **fixed):
    return [Candidate(*triple, **{"parameters": 1, "non_trainable": 0, "macs": 1, "activations": 1, **fixed})
            for triple in triples]  # fmt: skip


def test_front():
    assert scaling.front([(3, 1), (1, 5), (2, 5), (2, 4), (4, 1)]) == [1, 3, 0]
    assert scaling.front([]) == []


def test_near_a_budget():
    grid = some(*[(w, 26, 32) for w in (1, 2, 3, 4, 5)])
    assert [c.width for c in scaling.near(grid, 4.5, lambda c: c.width, "macs=4.5")] == [3, 4]
    with pytest.raises(UserError, match="No candidate meets the budget macs=0.5. The nearest is width 1, depth 26, 32 "
                                        "pixels, which needs 2.00 times as much"):  # fmt: skip
        scaling.near(grid, 0.5, lambda c: c.width, "macs=0.5")


def test_fitted_times():
    rng = np.random.default_rng(0)
    numbers = rng.integers(1e6, 1e9, (8, 2))
    grid = [Candidate(1.0, d, 32, 1, 0, int(m), int(a)) for (m, a), d in zip(numbers, scaling.DEPTHS * 2, strict=False)]
    time = lambda c: 3e-11 * c.macs + 5e-10 * c.activations + 2e-4 * c.depth + 0.01  # noqa: E731
    fitted, off = scaling.fit_times(grid[:6], [time(c) for c in grid[:6]])
    assert off < 1e-6 and fitted(grid[7]) == pytest.approx(time(grid[7]))
    growing, _ = scaling.fit_times(grid[:6], [1 / c.macs for c in grid[:6]])
    assert growing(grid[6]) >= 0, "no number is below 0, whatever was measured"


def trained(rule, noise=()):
    """A 3 x 3 grid whose multiply-adds are width^2 * depth, and its errors."""
    grid = [Candidate(w, d, 32, 1, 0, int(w**2 * d), 1) for w in (16, 32, 64) for d in (25, 50, 100)]
    errors = [rule(math.log2(c.width), math.log2(c.depth)) for c in grid]
    return grid, np.add(errors, noise) if len(noise) else errors


def test_gains_along_each_axis():
    grid, errors = trained(lambda w, d: 50 - 3.0 * 2 * w - 1.0 * d)  # 3 points per doubling by width, 1 by depth
    found = scaling.gains(grid, errors)
    assert list(found) == ["width", "depth"]
    assert found["width"] == pytest.approx((3.0, 0.0), abs=1e-6)
    assert found["depth"] == pytest.approx((1.0, 0.0), abs=1e-6)
    assert "by width +3.00 ± 0.00, by depth +1.00 ± 0.00. Width won." in scaling.verdict(10, found)


def test_standard_errors_are_those_of_least_squares():
    noise = np.random.default_rng(1).normal(size=9)
    grid, errors = trained(lambda w, d: 50 - w - d, noise)
    found = scaling.gains(grid, errors)
    residual = np.subtract(errors, 50 - np.log2([c.width for c in grid]) - np.log2([c.depth for c in grid]))
    x = np.array([[1, 2 * math.log2(c.width), math.log2(c.depth)] for c in grid])
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    sigma = math.sqrt(residual @ (np.eye(9) - hat) @ residual / 6)
    expected = sigma * np.sqrt(np.diag(np.linalg.inv(x.T @ x)))[1:]
    assert [found["width"][1], found["depth"][1]] == pytest.approx(expected)
    assert "No axis won clearly" in scaling.verdict(10, {"width": (1.0, 0.5), "depth": (0.8, 0.5)})


def test_a_grid_too_small_for_an_error_has_none():
    grid, errors = trained(lambda w, d: w + d)
    found = scaling.gains(grid[:2], errors[:2])
    assert list(found) == ["depth"] and math.isnan(found["depth"][1])
    assert scaling.verdict(3, found).endswith("by depth -1.00 ± nan.")


def test_mistakes():
    with pytest.raises(UserError, match="`family` must be one of .* Received: 'resnetrs'. Did you"):
        scaling_study.rows_of("resnetrs", (1.0,), (50,), (64,), 8)
    with pytest.raises(UserError, match="no depth 150 in resnet_rs: 26, 50, .*Nearest: 152"):
        scaling_study.rows_of("resnet_rs", (1.0,), (150,), (64,), 8)
    with pytest.raises(UserError, match="leaves 0 of the stem's 64 channels"):
        scaling_study.rows_of("resnet_rs", (0.001,), (26,), (64,), 8)
    with pytest.raises(UserError, match="width of 0.001 leaves 0 of 64 channels"):
        scaling_study.rows_of("resnet_d", (0.001,), (50,), (64,), 8)
    with pytest.raises(UserError, match="32 pixels or more.*Received: 16, 8"):
        scaling_study.rows_of("resnet_rs", (1.0,), (26,), (64, 16, 8), 8)


def test_the_study_of_the_paper_is_the_default():
    assert len(scaling.WIDTHS) * len(scaling.DEPTHS) * len(scaling.RESOLUTIONS) == 175
    assert {*scaling.DEPTHS} < {*kt.models.resnet_rs.DEPTHS}
