"""`keras-tricks scale`: costs of a grid of networks, measured times of some, a budget, and trained errors if asked for.

Everything is written to one folder:

    scaling.csv    a row per network: parameters, multiply-adds, activations, memory, times (measured or fitted), errors
    scaling.png    multiply-adds against time and memory; error against multiply-adds and time where it was trained
    runs/          a run folder for each trained network; a run that is complete is not trained again
"""

import concurrent.futures
import csv
import dataclasses
import logging
import math
import multiprocessing
import os
import pathlib
import statistics
import time

from keras_tricks import models, training
from keras_tricks.analysis import scaling, training_memory
from keras_tricks.callbacks.run_log import read_summary
from keras_tricks.errors import UserError, check_choice, nearest
from keras_tricks.models import resnet, resnet_rs

log = logging.getLogger("absl")

UNITS = {
    "macs": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "latency": {"ms": 1e-3, "s": 1},
    "memory": {"MiB": 2**20, "GiB": 2**30, "MB": 1e6, "GB": 1e9},
}
LINE = {"color": "black", "linewidth": 0.8, "zorder": 0}  # of a front
SHOWN = 20  # networks of the front in the table
EXAMPLES = {"macs": "macs=4.5G", "latency": "latency=20ms", "memory": "memory=8GiB"}


@dataclasses.dataclass(frozen=True)
class Family:
    """A family that can be scaled.

    Attributes:
        name: pattern of the registry names, `"resnet_rs{depth}"`.
        depths: {depth: blocks of each stage}.
        options: function of the width to the options of the builder.
    """

    name: str
    depths: dict
    options: object

    def of_depths(self, wanted):
        """{depth: blocks} of some depths. Raises `UserError` with the nearest one for a depth there is not."""
        for depth in wanted:
            if depth not in self.depths:
                near = min(self.depths, key=lambda known: abs(known - depth))
                raise UserError(f"There is no depth {depth} in {self.name.format(depth='')}: "
                                f"{', '.join(map(str, self.depths))}. Nearest: {near}.")
        return {depth: self.depths[depth] for depth in wanted}

    def build(self, width, depth, image_size):
        return models.create_model(self.name.format(depth=depth), input_shape=(image_size, image_size, 3),
                                   kernel_initializer="zeros", **self.options(width))  # fmt: skip


def _resnet_d_options(width):
    filters = tuple(int(width * f) for f in (64, 128, 256, 512))
    if filters[0] < 2:
        raise UserError(f"A width of {width:g} leaves {filters[0]} of 64 channels: give 1/32 or more.")
    return {"filters": filters, "stem_filters": filters[0]}


FAMILIES = {
    "resnet_rs": Family("resnet_rs{depth}", resnet_rs.DEPTHS, lambda width: {"width_factor": width}),
    "resnet_d": Family("resnet{depth}d", {d: blocks for d, (kind, blocks) in resnet.VARIANTS.items()
                                          if kind == "bottleneck"}, _resnet_d_options),
}  # fmt: skip


@dataclasses.dataclass
class Row:
    """A candidate and what is known of it. Times are seconds for one image, memory is bytes of a training step."""

    candidate: scaling.Candidate
    memory: float
    measured: bool = False
    step: float | None = None
    latency: float | None = None
    peak_memory: float | None = None
    errors: dict = dataclasses.field(default_factory=dict)  # {epochs: percent}


def depths_of(family):
    """The depths of a family, in order. Raises `UserError` for an unknown family."""
    return tuple(FAMILIES[check_choice("family", family, FAMILIES)].depths)


# --- costs and times --------------------------------------------------------------------------------------------


def rows_of(family, widths, depths, resolutions, batch_size):
    """Costs of the grid, a list of `Row`.

    Raises:
        UserError: an unknown family or depth, a width without channels, a resolution too small.
    """
    family = FAMILIES[check_choice("family", family, FAMILIES)]
    found = scaling.grid(family.build, family.of_depths(depths), widths, resolutions)
    return [Row(c, training_memory(c, batch_size)) for c in found]


def measure(rows, family, count, batch_size, steps, most_macs=math.inf, deepest=math.inf, memory_limit=math.inf):
    """Times `count` of the rows, spread evenly over their multiply-adds, and fits the times of the others.

    Each is measured in a process of its own, so that its largest memory is its own.

    Args:
        rows: list of `Row`; those measured and the others are filled in.
        family: name.
        count: integer, 0 for none. Less than four are not enough to fit the others.
        batch_size, steps: of a training step, and how many of them the median is taken.
        most_macs, deepest, memory_limit: multiply-adds, depth and estimated bytes above which a network is not
            measured. Deep ones take minutes to trace.

    Returns:
        Median of how far the fit is off in what was measured, for steps and latencies, or `None`.
    """
    able = [row for row in rows if row.memory <= memory_limit and row.candidate.macs <= most_macs
            and row.candidate.depth <= deepest]  # fmt: skip
    able.sort(key=lambda row: row.candidate.macs)
    chosen = [able[round(i * (len(able) - 1) / max(count - 1, 1))] for i in range(min(count, len(able)))]
    for number, row in enumerate(chosen, start=1):
        c = row.candidate
        options = FAMILIES[family].options(c.width)
        try:
            done = in_a_process(time_steps, FAMILIES[family].name.format(depth=c.depth), options, c.resolution,
                                batch_size, steps)  # fmt: skip
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
        fitted, off[what] = scaling.fit_times([row.candidate for row in known], [getattr(row, what) for row in known])
        for row in rows:
            if not row.measured:
                setattr(row, what, fitted(row.candidate))
    return off


def in_a_process(function, *args):
    """Calls a function of this module in a fresh process and returns what it returns."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *args).result()


def time_steps(name, options, image_size, batch_size, steps):
    """Median seconds per image of training steps and of inference, and the largest memory in bytes."""
    import keras
    import numpy as np

    model = models.create_model(name, input_shape=(image_size, image_size, 3), **options)
    # The loss of a fresh network is high: a rate that moves nothing keeps numbers finite.
    model.compile(keras.optimizers.SGD(1e-6, 0.9), "sparse_categorical_crossentropy", jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch_size, image_size, image_size, 3)).astype("float32")
    labels = rng.integers(0, 1000, batch_size)
    before = _memory_of_this_process()
    step = _median_seconds(lambda: model.train_on_batch(images, labels), steps)
    peak = _peak_memory(before)
    latency = _median_seconds(lambda: model.predict_on_batch(images), steps)
    return {"step": step / batch_size, "latency": latency / batch_size, "peak_memory": peak}


def _median_seconds(work, repeats, warmup=2):
    seconds = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warmup:])


def _peak_memory(before):
    """Largest memory: of the first accelerator, or of this process less what it had before the first step."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _memory_of_this_process():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


# --- budgets ----------------------------------------------------------------------------------------------------


def parse_budget(text, flag="--budget", shown=None):
    """`"macs=4.5G"` -> `("macs", 4.5e9)`. Seconds, bytes, or multiply-adds.

    Args:
        text: string.
        flag, shown: what the command line calls it, and what came there, for the message.

    Raises:
        UserError: an unknown kind of budget, or no number above 0.
    """
    kind, _, amount = text.partition("=")
    if kind not in UNITS:
        raise UserError(f"{flag} takes {', '.join(EXAMPLES.values())}. Received: {text!r}.{nearest(kind, UNITS)}")
    unit = next((u for u in sorted(UNITS[kind], key=len, reverse=True) if amount.endswith(u)), None)
    try:
        value = float(amount.removesuffix(unit or "")) if unit is not None else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        example = EXAMPLES[kind] if shown is None else EXAMPLES[kind].partition("=")[2]
        raise UserError(f"{flag} takes a number above 0 and its unit ({', '.join(filter(None, UNITS[kind]))}), such as "
                        f"{example}. Received: {shown or text!r}")
    return kind, value * UNITS[kind][unit]


def spent(row, kind):
    """What a row uses of a budget of that kind. Raises `UserError` where times are not known."""
    if kind == "latency" and row.latency is None:
        raise UserError("A latency budget needs measured times: --measure 4 or more.")
    return {"macs": row.candidate.macs, "latency": row.latency, "memory": row.memory}[kind]


def advice(rows, budget):
    """The candidates that use a budget best, deep and wide, as lines of text.

    Args:
        rows: list of `Row`.
        budget: text, such as `"macs=4.5G"`.
    """
    kind, amount = parse_budget(budget)
    by_candidate = {row.candidate: row for row in rows}
    choice = scaling.near(list(by_candidate), amount, lambda c: spent(by_candidate[c], kind), budget)
    deep = max(choice, key=lambda c: (c.depth, -c.resolution, c.width))
    wide = max(choice, key=lambda c: (c.width, -c.resolution, c.depth))
    yield f"Budget {budget}: {len(choice)} networks use it well. By the paper's rules, found on ImageNet:"
    for regime, c in (("long training", deep), ("short training", wide)):
        yield (f"  {regime:<15}width {c.width:g}, depth {c.depth}, {c.resolution} px: {c.macs / 1e9:.2f} G "
               f"multiply-adds, {c.parameters / 1e6:.1f} M parameters")


# --- training ---------------------------------------------------------------------------------------------------


def train(rows, family, recipe, epochs, folder):
    """Trains every row for some epochs and fills in its error on the validation images, in percent.

    Args:
        rows: list of `Row`.
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
        )  # fmt: skip
        run = folder / "runs" / f"{c.name}_e{epochs}"
        summary = finished(run, own)
        if summary is None:
            log.info("%d of %d: %s, %d epochs", number, len(rows), c.name, epochs)
            training.train(own, run, resume=(run / "recipe.json").exists(), verbose=0)
            summary = read_summary(run)
        row.errors[epochs] = 100 - float(summary[-1]["top1"])


def finished(run, recipe):
    """The rows of a complete run of that recipe, or `None`."""
    if not (run / "recipe.json").is_file():
        return None
    if (run / "recipe.json").read_text() != recipe.to_json():
        raise UserError(f"{run} holds a run of other settings: give --output another folder, or remove it.")
    summary = read_summary(run)
    return summary if len(summary) == recipe.schedule.epochs and summary[-1]["top1"] else None


# --- results ----------------------------------------------------------------------------------------------------


def pareto(rows):
    """Places of the rows on the front: most multiply-adds for their time (or memory, where no time is known)."""
    cost = [row.step if row.step is not None else row.memory for row in rows]
    return scaling.front([(c, -row.candidate.macs) for c, row in zip(cost, rows, strict=True)])


def pareto_of_errors(rows, epochs, spent):
    """The rows with that error, on the front of (what they cost, error)."""
    trained = [row for row in rows if epochs in row.errors]
    return [trained[i] for i in scaling.front([(spent(row), row.errors[epochs]) for row in trained])]


def write_csv(rows, path):
    """One row per network; replaced in one step. Empty cells: not known."""
    on_front, epochs = set(pareto(rows)), sorted({e for row in rows for e in row.errors})
    fields = ["width", "depth", "resolution", "parameters", "macs", "activations", "memory_bytes", "times",
              "train_ms_per_image", "inference_ms_per_image", "peak_memory_bytes", "pareto",
              *(f"error_{e}_epochs" for e in epochs)]  # fmt: skip
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for place, row in enumerate(rows):
            c = row.candidate
            kind = "" if row.step is None else "measured" if row.measured else "fitted"
            times = ["" if t is None else f"{1e3 * t:.4g}" for t in (row.step, row.latency)]
            errors = [f"{row.errors[e]:.2f}" if e in row.errors else "" for e in epochs]
            writer.writerow([f"{c.width:g}", c.depth, c.resolution, c.parameters, c.macs, c.activations,
                             round(row.memory), kind, *times, row.peak_memory or "", int(place in on_front), *errors])
    os.replace(partial, path)


def draw(rows, path, title):
    """Multiply-adds against time and memory, and a line of panels for each length of training: a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter, NullFormatter

    timed = rows[0].step is not None
    regimes = sorted({e for row in rows for e in row.errors})
    costs = {"multiply-adds, M": lambda row: row.candidate.macs / 1e6}
    if timed:
        costs |= {"training step, ms per image": lambda row: 1e3 * row.step,
                  "inference, ms per image": lambda row: 1e3 * row.latency}  # fmt: skip
    costs["memory of a training step, GiB"] = lambda row: row.memory / 2**30
    macs, *others = costs
    figure = Figure(figsize=(4.4 * len(others) + 1, 3.6 * (1 + len(regimes))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1 + len(regimes), len(others), squeeze=False)

    front = [rows[i] for i in pareto(rows)]
    for axis, cost in zip(panels[0], others, strict=True):
        points = _scatter(axis, rows, costs[cost], costs[macs])
        axis.set(xlabel=cost, ylabel=macs, yscale="log")
    panels[0][0].plot([costs[others[0]](r) for r in front], [costs[macs](r) for r in front], **LINE, label="front")
    panels[0][0].legend(loc="upper left")
    for line, epochs in zip(panels[1:], regimes, strict=True):
        trained = [row for row in rows if epochs in row.errors]
        for axis, cost in zip(line, [macs, *others], strict=False):
            _scatter(axis, trained, costs[cost], lambda row, e=epochs: row.errors[e])
            for row in trained:
                axis.annotate(f"{row.candidate.depth}", (costs[cost](row), row.errors[epochs]), fontsize=7,
                              xytext=(3, 3), textcoords="offset points")  # fmt: skip
            best = pareto_of_errors(rows, epochs, costs[cost])
            axis.plot([costs[cost](r) for r in best], [r.errors[epochs] for r in best], **LINE)
            axis.set(xlabel=cost, ylabel="error, %", title=f"{epochs} epochs (numbers: depth)")
    for axis in panels.flat:
        axis.set_xscale("log")
        for side in (axis.xaxis, *([axis.yaxis] if axis in panels[0] else [])):
            side.set_major_formatter(LogFormatter(minor_thresholds=(0, 0)))
            side.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3, which="both")
    figure.colorbar(points, ax=panels[0], label="width", ticks=sorted({row.candidate.width for row in rows}))
    figure.suptitle(title, fontsize=10)
    partial = path.with_name(f".{path.name}.partial.png")
    figure.savefig(partial, dpi=110)
    os.replace(partial, path)


def _scatter(axis, rows, x, y):
    """Colour: width; size: depth."""
    return axis.scatter([x(r) for r in rows], [y(r) for r in rows], c=[r.candidate.width for r in rows], cmap="viridis",
                        s=[4 + r.candidate.depth / 8 for r in rows], alpha=0.8)  # fmt: skip


def describe(rows, off=None):
    """What was found, as text: the costs, the front, what was measured, what training says, the paper's rules."""
    first = "width  depth    px      parameters   M multiply-adds  memory GiB"
    lines = [f"{len(rows)} networks. The front: most multiply-adds for their "
             + ("time." if rows[0].step is not None else "memory."), "", first
             + ("  step ms  inference ms" if rows[0].step is not None else "")]  # fmt: skip
    places = pareto(rows)
    shown = sorted({places[round(i * (len(places) - 1) / (SHOWN - 1))] for i in range(SHOWN)}, key=places.index)
    for place in shown:
        c, row = rows[place].candidate, rows[place]
        times = "" if row.step is None else f"{1e3 * row.step:>9.1f}{1e3 * row.latency:>14.1f}"
        lines.append(f"{c.width:>5g}{c.depth:>7}{c.resolution:>6}{c.parameters:>16,}{c.macs / 1e6:>18,.1f}"
                     f"{row.memory / 2**30:>12.2f}{times}{'' if row.measured or not times else '  fitted'}")
    lines.append("" if len(shown) == len(places) else f"  ... {len(places)} in all, in scaling.csv\n")
    if off is not None:
        known = sum(row.measured for row in rows)
        rest = (f" The times of the others are fitted; on those measured the fit is off by {100 * off['step']:.0f} % "
                f"for steps and {100 * off['latency']:.0f} % for inference (medians).")  # fmt: skip
        lines += [f"{known} networks were measured.{rest if known < len(rows) else ''}", ""]
    for epochs in sorted({e for row in rows for e in row.errors}):
        trained = [row for row in rows if epochs in row.errors]
        found = scaling.gains([row.candidate for row in trained], [row.errors[epochs] for row in trained])
        lines += [scaling.verdict(epochs, found), ""]
    return "\n".join([*lines, "The paper's rules: " + "; ".join(scaling.RULES) + ".", ""])


def output_folder(path):
    """The folder, made. Raises `UserError` when it cannot be."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be written ({error.strerror}): give --output.") from None
    return folder
