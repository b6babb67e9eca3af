"""The scaling study: costs against whole networks; fronts, budgets, fits and gains against manual calculations."""

import math

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.analysis import cost
from keras_tricks.studies import scaling
from keras_tricks.studies.scaling import grid
from keras_tricks.studies.scaling.grid import Candidate
from keras_tricks.utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")


@pytest.mark.parametrize("family, depths", [("resnet_rs", (26, 50)), ("resnet_d", (50, 101))])
def test_costs_are_those_of_the_whole_networks(family, depths):
    built = scaling.FAMILIES[family]
    rows = grid.grid(built.build, built.select_depths(depths), (0.0625, 0.25), (32, 96))
    assert len(rows) == 2 * len(depths) * 2
    for row in rows[:: 1 if family == "resnet_rs" else 5]:
        whole = cost(built.build(row.width, row.depth, row.resolution))
        assert (row.parameters, row.non_trainable) == (whole.parameters, whole.non_trainable), row.name
        assert (row.macs, row.activations) == (whole.macs, whole.activations), row.name


def test_costs_of_the_released_networks():
    rows = scaling.make_rows("resnet_rs", (1.0,), (152, 270, 420), (256, 320), batch_size=8)
    found = {(row.candidate.depth, row.candidate.resolution): row.candidate for row in rows}
    assert [found[d, 256].parameters for d in (152, 270, 420)] == [86_621_576, 129_861_448, 191_891_656]
    for key, billions in {(152, 256): 31, (270, 256): 54, (420, 320): 128}.items():  # of the paper, 2 x multiply-adds
        assert 2e-9 * found[key].macs == pytest.approx(billions, rel=0.02)


def some(*triples, **fixed):
    return [Candidate(*triple, **{"parameters": 1, "non_trainable": 0, "macs": 1, "activations": 1, **fixed})
            for triple in triples]


def test_front():
    assert grid.pareto_front([(3, 1), (1, 5), (2, 5), (2, 4), (4, 1)]) == [1, 3, 0]
    assert grid.pareto_front([]) == []


def test_near_a_budget():
    candidates = some(*[(w, 26, 32) for w in (1, 2, 3, 4, 5)])
    assert [c.width for c in grid.best_within_budget(candidates, 4.5, lambda c: c.width, "macs=4.5")] == [3, 4]
    with pytest.raises(UserError, match="No candidate fits the budget macs=0.5. The nearest is width 1, depth 26, 32 "
                                        "pixels, which needs 2.00 times as much"):
        grid.best_within_budget(candidates, 0.5, lambda c: c.width, "macs=0.5")


def test_fitted_times():
    rng = np.random.default_rng(0)
    numbers = rng.integers(1e6, 1e9, (8, 2))
    candidates = [Candidate(1.0, d, 32, 1, 0, int(m), int(a))
                  for (m, a), d in zip(numbers, grid.DEPTHS * 2, strict=False)]
    time = lambda c: 3e-11 * c.macs + 5e-10 * c.activations + 2e-4 * c.depth + 0.01  # noqa: E731
    fitted, off = grid.fit_times(candidates[:6], [time(c) for c in candidates[:6]])
    assert off < 1e-6 and fitted(candidates[7]) == pytest.approx(time(candidates[7]))
    growing, _ = grid.fit_times(candidates[:6], [1 / c.macs for c in candidates[:6]])
    assert growing(candidates[6]) >= 0, "no number is below 0, whatever was measured"


def trained(rule, noise=()):
    """A 3 x 3 grid whose multiply-adds are width^2 * depth, and its errors."""
    candidates = [Candidate(w, d, 32, 1, 0, int(w**2 * d), 1) for w in (16, 32, 64) for d in (25, 50, 100)]
    errors = [rule(math.log2(c.width), math.log2(c.depth)) for c in candidates]
    return candidates, np.add(errors, noise) if len(noise) else errors


def test_gains_along_each_axis():
    candidates, errors = trained(lambda w, d: 50 - 3.0 * 2 * w - 1.0 * d)  # 3 points per doubling by width, 1 by depth
    found = grid.gains(candidates, errors)
    assert list(found) == ["width", "depth"]
    assert found["width"] == pytest.approx((3.0, 0.0), abs=1e-6)
    assert found["depth"] == pytest.approx((1.0, 0.0), abs=1e-6)
    assert "by width +3.00 ± 0.00, by depth +1.00 ± 0.00. Width won." in grid.summarize_gains(10, found)


def test_standard_errors_are_those_of_least_squares():
    noise = np.random.default_rng(1).normal(size=9)
    candidates, errors = trained(lambda w, d: 50 - w - d, noise)
    found = grid.gains(candidates, errors)
    residual = np.subtract(errors, 50 - np.log2([c.width for c in candidates]) - np.log2([c.depth for c in candidates]))
    x = np.array([[1, 2 * math.log2(c.width), math.log2(c.depth)] for c in candidates])
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    sigma = math.sqrt(residual @ (np.eye(9) - hat) @ residual / 6)
    expected = sigma * np.sqrt(np.diag(np.linalg.inv(x.T @ x)))[1:]
    assert [found["width"][1], found["depth"][1]] == pytest.approx(expected)
    assert "No axis won clearly" in grid.summarize_gains(10, {"width": (1.0, 0.5), "depth": (0.8, 0.5)})


def test_a_grid_too_small_for_an_error_has_none():
    candidates, errors = trained(lambda w, d: w + d)
    found = grid.gains(candidates[:2], errors[:2])
    assert list(found) == ["depth"] and math.isnan(found["depth"][1])
    assert grid.summarize_gains(3, found).endswith("by depth -1.00 ± nan.")


def test_mistakes():
    with pytest.raises(UserError, match="`family` must be one of .* Received: 'resnetrs'. Did you"):
        scaling.make_rows("resnetrs", (1.0,), (50,), (64,), 8)
    with pytest.raises(UserError, match="resnet_rs has no depth 150: choose from 26, 50, .*Nearest: 152"):
        scaling.make_rows("resnet_rs", (1.0,), (150,), (64,), 8)
    with pytest.raises(UserError, match="leaves 0 of the stem's 64 channels"):
        scaling.make_rows("resnet_rs", (0.001,), (26,), (64,), 8)
    with pytest.raises(UserError, match="width of 0.001 leaves 0 of 64 channels"):
        scaling.make_rows("resnet_d", (0.001,), (50,), (64,), 8)
    with pytest.raises(UserError, match="32 pixels or more.*Received: 16, 8"):
        scaling.make_rows("resnet_rs", (1.0,), (26,), (64, 16, 8), 8)


def test_the_study_of_the_paper_is_the_default():
    assert len(grid.WIDTHS) * len(grid.DEPTHS) * len(grid.RESOLUTIONS) == 175
    assert {*grid.DEPTHS} < {*kt.models.resnet_rs.DEPTHS}
