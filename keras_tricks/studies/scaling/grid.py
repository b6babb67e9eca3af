"""Scaling study: the costs of width, depth and resolution on a whole grid, and which of them reduces the error most.

Formula    the cost of a network is linear in the number of blocks of each stage: one small network per width, with two
           blocks in each stage, gives the cost at every depth; its feature maps give the cost at every resolution
Paper      Bello et al. 2021, arXiv:2103.07579, section 5: 5 widths x 7 depths x 5 resolutions; 10, 100 and 350 epochs
Use when   you have a budget of multiply-adds, time or memory and want to choose a network for it
Do not     apply the paper's rules (`RULES`) unchecked: measure on your data (`keras-tricks scale --train`)
Cost       a minute for the costs of 175 networks; measuring times takes as long as the measured steps
Differs    the paper measures on TPUs and V100s; memory here is an estimate (`Cost.training_memory`) or measured
Status     costs equal those of the whole networks; docs/results/scaling
"""

import dataclasses
import itertools
import math

import numpy as np

from keras_tricks.analysis.cost import cost
from keras_tricks.utils.errors import UserError

WIDTHS = (0.25, 0.5, 1.0, 1.5, 2.0)
DEPTHS = (26, 50, 101, 200, 300, 350, 400)
RESOLUTIONS = (128, 160, 224, 320, 448)
AXES = ("width", "depth", "resolution")
STRIDE = 32  # pixels of the image per pixel of the last feature map
RULES = (
    "in long training (350 epochs of ImageNet, where a network can overfit), scale the depth",
    "in short training (10 epochs), scale the width",
    "grow the resolution slowly: the paper stays at 128 to 160 pixels where EfficientNet takes 260 and more",
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A network of the grid and its costs per image. It has the fields that `training_memory` needs."""

    width: float
    depth: int
    resolution: int
    parameters: int
    non_trainable: int
    macs: int
    activations: int

    @property
    def name(self):
        return f"w{self.width:g}_d{self.depth}_r{self.resolution}"


def grid(build, depths, widths=WIDTHS, resolutions=RESOLUTIONS):
    """Costs of all networks of a grid. Builds one network per width.

    Args:
        build: function `(width, depth, image_size) -> keras.Model` whose blocks are named `stage<i>_block<j>_...`.
        depths: {depth: blocks of each stage}. The shallowest one is built and needs at least two blocks per stage.
        widths: floats > 0.
        resolutions: integers, pixels, 32 or more.

    Returns:
        A list of `Candidate`, by width, then depth, then resolution.

    Raises:
        UserError: a resolution is too small for the network's strides.
    """
    if small := [r for r in resolutions if r < STRIDE]:
        raise UserError(f"A resolution must be {STRIDE} pixels or more: the network halves its images five times. "
                        f"Received: {', '.join(map(str, small))}")
    base = min(depths, key=lambda depth: sum(depths[depth]))
    candidates = []
    for width in widths:
        model = build(width, base, max(resolutions))
        costs = {r: _by_part(cost(model, r), len(depths[base])) for r in resolutions}
        for depth, resolution in itertools.product(depths, resolutions):
            whole, *units = costs[resolution]
            more = [n - m for n, m in zip(depths[depth], depths[base], strict=True)]
            numbers = whole + sum(count * unit for count, unit in zip(more, units, strict=True))
            candidates.append(Candidate(width, depth, resolution, *map(int, numbers)))
    return candidates


def _by_part(spent, stages):
    """Costs of the whole network, and of one more block in each stage: arrays in the order of `Candidate`."""
    rows = [(row.name, np.array([row.parameters, row.non_trainable, row.macs, row.activations]))
            for row in spent.layers]
    parts = [sum((n for name, n in rows if name.startswith(f"stage{s}_block2_")), np.zeros(4, int))
             for s in range(1, stages + 1)]
    return [sum(n for _, n in rows), *parts]


def pareto_front(points):
    """The Pareto front: indices of the points that no other point dominates. Smaller is better in both numbers.

    Args:
        points: list of pairs `(cost, loss)`.

    Returns:
        List of integers, in ascending order of cost.
    """
    best, indices = math.inf, []
    for index in sorted(range(len(points)), key=lambda i: tuple(points[i])):
        if points[index][1] < best:
            best = points[index][1]
            indices.append(index)
    return indices


def best_within_budget(candidates, budget, spent, what):
    """The candidates that use a budget best: those within it that use at least 70 % of the most that any of them uses.

    Args:
        candidates: list of `Candidate`.
        budget: float.
        spent: function that returns the amount that a candidate uses.
        what: the budget as text, for the message.

    Raises:
        UserError: no candidate is within the budget. The message names the nearest one.
    """
    within = [c for c in candidates if spent(c) <= budget]
    if not within:
        nearest = min(candidates, key=spent)
        raise UserError(f"No candidate fits the budget {what}. The nearest is width {nearest.width:g}, depth "
                        f"{nearest.depth}, {nearest.resolution} pixels, which needs {spent(nearest) / budget:.2f} "
                        "times as much.")
    return [c for c in within if spent(c) >= 0.7 * max(map(spent, within))]


def fit_times(candidates, seconds):
    """Fits a model of the times of measured networks, which predicts those of the others.

    The model is `a * macs + b * activations + c * depth + d` with non-negative coefficients, fitted by least squares of
    relative differences: arithmetic, memory traffic, and the overheads of each layer and of each step.

    Args:
        candidates: list of `Candidate`, four or more.
        seconds: their times.

    Returns:
        A function that predicts the seconds of a candidate, and the median of its relative errors on the measured
        networks (0.1 for 10 %).
    """
    from scipy.optimize import nnls

    def row(c):
        return [c.macs, c.activations, c.depth, 1.0]

    times = np.array(seconds)
    relative = np.array([row(c) for c in candidates]) / times[:, None]
    scale = relative.max(axis=0)
    found = nnls(relative / scale, np.ones(len(times)))[0] / scale
    errors = np.abs(relative @ found - 1)
    return lambda c: float(np.dot(row(c), found)), float(np.median(errors))


def gains(candidates, errors):
    """Reduction of the error by doubling the multiply-adds along each axis, by least squares over a trained grid.

    Args:
        candidates: list of trained `Candidate`.
        errors: their errors in percent.

    Returns:
        {axis: (percentage points less error, standard error)} of the axes with more than one value. The standard error
        is `nan` if the grid does not have more networks than the fit has parameters.
    """
    axes = [axis for axis in AXES if len({getattr(c, axis) for c in candidates}) > 1]
    logs = [math.log2(c.macs) for c in candidates]

    def effect(candidate, axis):
        """Mean log2 of the multiply-adds of all networks that share the candidate's value."""
        value = getattr(candidate, axis)
        return np.mean([m for c, m in zip(candidates, logs, strict=True) if getattr(c, axis) == value])

    x = np.array([[1.0, *(effect(c, axis) for axis in axes)] for c in candidates])
    x[:, 1:] -= x[:, 1:].mean(axis=0)
    y = np.array(errors)
    slopes = np.linalg.lstsq(x, y, rcond=None)[0]
    degrees_of_freedom = len(y) - x.shape[1]
    variance = np.sum((y - x @ slopes) ** 2) / degrees_of_freedom if degrees_of_freedom > 0 else math.nan
    spread = np.sqrt(variance * np.diag(np.linalg.pinv(x.T @ x)))
    return {axis: (-float(slope), float(s)) for axis, slope, s in zip(axes, slopes[1:], spread[1:], strict=True)}


def summarize_gains(epochs, found):
    """A sentence about `gains`: the axis that reduced the error most at a number of epochs, if one did clearly."""
    parts = ", ".join(f"by {axis} {points:+.2f} ± {spread:.2f}" for axis, (points, spread) in found.items())
    ranked = sorted(found, key=lambda axis: found[axis][0], reverse=True)
    length = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    text = f"{length}: points of error removed by doubling the multiply-adds: {parts}"
    if len(ranked) < 2:
        return f"{text}."
    first, second = (found[axis] for axis in ranked[:2])
    clear = first[0] - second[0] > math.hypot(first[1], second[1])
    return f"{text}. {ranked[0].capitalize()} won." if clear else f"{text}. No axis won clearly."
