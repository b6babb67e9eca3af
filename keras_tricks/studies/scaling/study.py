"""The grid: costs of all its networks, times of some, errors of those that are trained."""

import concurrent.futures
import dataclasses
import logging
import math

from keras_tricks import training
from keras_tricks.analysis import training_memory
from keras_tricks.run.folder import completed_summary
from keras_tricks.studies.scaling import grid, timing
from keras_tricks.studies.scaling.family import FAMILIES
from keras_tricks.utils.errors import check_choice
from keras_tricks.utils.summary import read_summary

log = logging.getLogger("absl")


@dataclasses.dataclass
class GridRow:
    """A candidate and what is known of it. Times are seconds for one image, memory is bytes of a training step."""

    candidate: grid.Candidate
    memory: float
    measured: bool = False
    step: float | None = None
    latency: float | None = None
    peak_memory: float | None = None
    errors: dict = dataclasses.field(default_factory=dict)  # {epochs: percent}


def make_rows(family, widths, depths, resolutions, batch_size):
    """Costs of the grid, a list of `GridRow`.

    Raises:
        UserError: an unknown family or depth, a width without channels, a resolution too small.
    """
    family = FAMILIES[check_choice("family", family, FAMILIES)]
    found = grid.grid(family.build, family.of_depths(depths), widths, resolutions)
    return [GridRow(c, training_memory(c, batch_size)) for c in found]


def measure(rows, family, count, batch_size, steps, most_macs=math.inf, deepest=math.inf, memory_limit=math.inf):
    """Times `count` of the rows, spread evenly over their multiply-adds, and fits the times of the others.

    Each is measured in a process of its own, so that its largest memory is its own.

    Args:
        rows: list of `GridRow`; those measured and the others are filled in.
        family: name.
        count: integer, 0 for none. Less than four are not enough to fit the others.
        batch_size, steps: of a training step, and how many of them the median is taken.
        most_macs, deepest, memory_limit: multiply-adds, depth and estimated bytes above which a network is not
            measured. Deep ones take minutes to trace.

    Returns:
        Median of how far the fit is off in what was measured, for steps and latencies, or `None`.
    """
    able = [row for row in rows if row.memory <= memory_limit and row.candidate.macs <= most_macs
            and row.candidate.depth <= deepest]
    able.sort(key=lambda row: row.candidate.macs)
    count = min(count, len(able))
    chosen = [able[round(i * (len(able) - 1) / max(count - 1, 1))] for i in range(count)]
    for number, row in enumerate(chosen, start=1):
        c = row.candidate
        options = FAMILIES[family].options(c.width)
        try:
            done = timing.in_a_process(timing.time_steps, FAMILIES[family].name.format(depth=c.depth), options,
                                       c.resolution, batch_size, steps)
        except concurrent.futures.process.BrokenProcessPool:
            log.warning("%s ended while it was measured, most likely for want of memory: left out", c.name)
            continue
        row.measured = True
        row.step, row.latency, row.peak_memory = done["step"], done["latency"], done["peak_memory"]
        log.info("%d/%d %s: training step %.1f ms per image, inference %.1f ms, peak %.2f GiB", number, len(chosen),
                 c.name, 1e3 * row.step, 1e3 * row.latency, row.peak_memory / 2**30)
    known = [row for row in rows if row.measured]
    if len(known) < 4:
        return None
    off = {}
    for what in ("step", "latency"):
        fitted, off[what] = grid.fit_times([row.candidate for row in known], [getattr(row, what) for row in known])
        for row in rows:
            if not row.measured:
                setattr(row, what, fitted(row.candidate))
    return off


def train(rows, family, recipe, epochs, folder):
    """Trains every row for some epochs and fills in its error on the validation images, in percent.

    Args:
        rows: list of `GridRow`.
        family: name.
        recipe: `Recipe`; its model, image size and epochs are replaced.
        epochs: integer.
        folder: where the runs go. A run that is complete there is read instead.

    Raises:
        UserError: what `training.train` raises, and a run folder of another recipe.
    """
    for number, row in enumerate(rows, start=1):
        c = row.candidate
        options = {**recipe.model.options, **FAMILIES[family].options(c.width)}
        own = recipe.replace(
            name=f"scaling/{c.name}_e{epochs}",
            data={"image_size": c.resolution, "test_image_size": None,
                  "short_side": max(recipe.data.short_side, c.resolution)},
            model={"name": FAMILIES[family].name.format(depth=c.depth), "options": options},
            schedule={"epochs": epochs, "warmup_epochs": min(recipe.schedule.warmup_epochs, epochs / 2)},
            train={"evaluate_every": epochs}, export={"formats": ()},
        )
        run = folder / "runs" / f"{c.name}_e{epochs}"
        summary = completed_summary(run, own)
        if summary is None:
            log.info("%d of %d: %s, %d epochs", number, len(rows), c.name, epochs)
            training.train(own, run, resume=(run / "recipe.json").exists(), verbose=0)
            summary = read_summary(run)
        row.errors[epochs] = 100 - float(summary[-1]["top1"])
