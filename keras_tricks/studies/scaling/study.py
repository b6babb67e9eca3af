"""The grid: costs of all its networks, measured times of some, errors of the trained ones."""

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
from keras_tricks.utils.summary import read_summary, top1_of

log = logging.getLogger("absl")


@dataclasses.dataclass
class GridRow:
    """A candidate and its measurements. Times are seconds per image, memory is bytes of a training step."""

    candidate: grid.Candidate
    memory: float
    measured: bool = False
    step: float | None = None
    latency: float | None = None
    peak_memory: float | None = None
    errors: dict = dataclasses.field(default_factory=dict)  # {epochs: percent}


def make_rows(family, widths, depths, resolutions, batch_size):
    """The costs of the grid, a list of `GridRow`.

    Raises:
        UserError: an unknown family or depth, a width that leaves no channels, a resolution that is too small.
    """
    family = FAMILIES[check_choice("family", family, FAMILIES)]
    found = grid.grid(family.build, family.select_depths(depths), widths, resolutions)
    return [GridRow(c, training_memory(c, batch_size)) for c in found]


def measure(rows, family, count, batch_size, steps, max_macs=math.inf, max_depth=math.inf, max_memory=math.inf):
    """Times `count` of the rows, spread evenly over their multiply-adds, and fits the times of the others.

    Each network is measured in a separate process, so that the peak memory of the process is that of the network.

    Args:
        rows: list of `GridRow`, whose times are filled in.
        family: name.
        count: integer, 0 for none. The fit of the others needs at least four.
        batch_size: integer, images per training step.
        steps: integer, number of steps over which the median is taken.
        max_macs, max_depth, max_memory: multiply-adds, depth and estimated bytes above which a network is not
            measured. Deep networks take minutes to trace.

    Returns:
        {"step" or "latency": median relative error of the fit on the measured networks}, or `None` without a fit.
    """
    eligible = [row for row in rows if row.memory <= max_memory and row.candidate.macs <= max_macs
                and row.candidate.depth <= max_depth]
    eligible.sort(key=lambda row: row.candidate.macs)
    count = min(count, len(eligible))
    chosen = [eligible[round(i * (len(eligible) - 1) / max(count - 1, 1))] for i in range(count)]
    for number, row in enumerate(chosen, start=1):
        c = row.candidate
        options = FAMILIES[family].options(c.width)
        try:
            done = timing.run_in_process(timing.time_steps, FAMILIES[family].name.format(depth=c.depth), options,
                                         c.resolution, batch_size, steps)
        except concurrent.futures.process.BrokenProcessPool:
            log.warning("The process that measured %s died, most likely for lack of memory: left out", c.name)
            continue
        row.measured = True
        row.step, row.latency, row.peak_memory = done["step"], done["latency"], done["peak_memory"]
        log.info("%d/%d %s: training step %.1f ms per image, inference %.1f ms, peak %.2f GiB", number, len(chosen),
                 c.name, 1e3 * row.step, 1e3 * row.latency, row.peak_memory / 2**30)
    known = [row for row in rows if row.measured]
    if len(known) < 4:
        return None
    errors = {}
    for what in ("step", "latency"):
        fitted, errors[what] = grid.fit_times([row.candidate for row in known], [getattr(row, what) for row in known])
        for row in rows:
            if not row.measured:
                setattr(row, what, fitted(row.candidate))
    return errors


def train(rows, family, recipe, epochs, folder):
    """Trains every row and fills in its error on the validation images, in percent.

    Args:
        rows: list of `GridRow`.
        family: name.
        recipe: `Recipe`. Its model, image size and epochs are replaced.
        epochs: integer.
        folder: parent folder of `runs/`. A complete run in it is read instead of trained.

    Raises:
        UserError: an error of `training.train`, or a run folder has a run of another recipe or on other classes.
    """
    names = training.class_names_of_data(recipe.data)
    for number, row in enumerate(rows, start=1):
        c = row.candidate
        options = {**recipe.model.options, **FAMILIES[family].options(c.width)}
        own = recipe.replace(
            name=f"scaling/{c.name}_e{epochs}",
            data={"image_size": c.resolution, "test_image_size": None,
                  "short_side": max(recipe.data.short_side, c.resolution)},
            model={"name": FAMILIES[family].name.format(depth=c.depth), "options": options},
            schedule={"epochs": epochs, "warmup_epochs": min(recipe.schedule.warmup_epochs, epochs / 2)},
            train={"evaluate_every": 1 if recipe.train.callbacks else epochs},  # a callback may end it early
            export={"formats": ()},
        )
        run = folder / "runs" / f"{c.name}_e{epochs}"
        summary = completed_summary(run, own, names)
        if summary is None:
            log.info("%d of %d: %s, %d epochs", number, len(rows), c.name, epochs)
            training.train(own, run, resume=(run / "recipe.json").exists(), verbose=0)
            summary = read_summary(run)
        row.errors[epochs] = 100 - float(top1_of(summary[-1]))
