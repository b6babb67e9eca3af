"""The results of a scaling study: scaling.csv, scaling.png and the table on the terminal."""

import csv

from keras_tricks.studies.scaling import grid
from keras_tricks.utils.atomic_files import atomic_write
from keras_tricks.utils.plotting import new_figure, save_figure

FRONT_STYLE = {"color": "black", "linewidth": 0.8, "zorder": 0}
MAX_ROWS_SHOWN = 20  # networks of the front in the table


def has_times(rows):
    """Whether the times of all rows are known, measured or fitted."""
    return all(row.step is not None for row in rows)


def pareto_indices(rows):
    """Indices of the rows on the front: most multiply-adds for their time, or for their memory if times are unknown."""
    cost = [row.step if has_times(rows) else row.memory for row in rows]
    return grid.pareto_front([(c, -row.candidate.macs) for c, row in zip(cost, rows, strict=True)])


def pareto_of_errors(rows, epochs, spent):
    """The rows trained for that number of epochs that are on the front of (cost, error)."""
    trained = [row for row in rows if epochs in row.errors]
    return [trained[i] for i in grid.pareto_front([(spent(row), row.errors[epochs]) for row in trained])]


def write_csv(rows, path):
    """Writes one row per network, atomically. An empty cell means that the value is unknown."""
    on_front, epochs = set(pareto_indices(rows)), sorted({e for row in rows for e in row.errors})
    fields = ["width", "depth", "resolution", "parameters", "macs", "activations", "memory_bytes", "times",
              "train_ms_per_image", "inference_ms_per_image", "peak_memory_bytes", "pareto",
              *(f"error_{e}_epochs" for e in epochs)]
    with atomic_write(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for index, row in enumerate(rows):
            c = row.candidate
            kind = "" if row.step is None else "measured" if row.measured else "fitted"
            times = ["" if t is None else f"{1e3 * t:.4g}" for t in (row.step, row.latency)]
            errors = [f"{row.errors[e]:.2f}" if e in row.errors else "" for e in epochs]
            writer.writerow([f"{c.width:g}", c.depth, c.resolution, c.parameters, c.macs, c.activations,
                             round(row.memory), kind, *times, row.peak_memory or "", int(index in on_front), *errors])


def draw(rows, path, title):
    """Draws multiply-adds against time and memory, and the errors of each number of epochs against costs, as a PNG."""
    from matplotlib.ticker import LogFormatter, NullFormatter

    regimes = sorted({e for row in rows for e in row.errors})
    costs = {"multiply-adds, M": lambda row: row.candidate.macs / 1e6}
    if has_times(rows):
        costs |= {"training step, ms per image": lambda row: 1e3 * row.step,
                  "inference, ms per image": lambda row: 1e3 * row.latency}
    costs["memory of a training step, GiB"] = lambda row: row.memory / 2**30
    macs, *others = costs
    figure = new_figure(4.4 * len(others) + 1, 3.6 * (1 + len(regimes)))
    panels = figure.subplots(1 + len(regimes), len(others), squeeze=False)

    front = [rows[i] for i in pareto_indices(rows)]
    for axis, cost in zip(panels[0], others, strict=True):
        points = _scatter(axis, rows, costs[cost], costs[macs])
        axis.set(xlabel=cost, ylabel=macs, yscale="log")
    xs, ys = [costs[others[0]](r) for r in front], [costs[macs](r) for r in front]
    panels[0][0].plot(xs, ys, **FRONT_STYLE, label="front")
    panels[0][0].legend(loc="upper left")
    for line, epochs in zip(panels[1:], regimes, strict=True):
        trained = [row for row in rows if epochs in row.errors]
        for axis, cost in zip(line, [macs, *others], strict=False):
            _scatter(axis, trained, costs[cost], lambda row, e=epochs: row.errors[e])
            for row in trained:
                axis.annotate(f"{row.candidate.depth}", (costs[cost](row), row.errors[epochs]), fontsize=7,
                              xytext=(3, 3), textcoords="offset points")
            best = pareto_of_errors(rows, epochs, costs[cost])
            axis.plot([costs[cost](r) for r in best], [r.errors[epochs] for r in best], **FRONT_STYLE)
            axis.set(xlabel=cost, ylabel="error, %", title=f"{epochs} epochs (numbers: depth)")
    for axis in panels.flat:
        axis.set_xscale("log")
        for side in (axis.xaxis, *([axis.yaxis] if axis in panels[0] else [])):
            side.set_major_formatter(LogFormatter(minor_thresholds=(0, 0)))
            side.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3, which="both")
    figure.colorbar(points, ax=panels[0], label="width", ticks=sorted({row.candidate.width for row in rows}))
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _scatter(axis, rows, x, y):
    """Colour: width; size: depth."""
    return axis.scatter([x(r) for r in rows], [y(r) for r in rows], c=[r.candidate.width for r in rows], cmap="viridis",
                        s=[4 + r.candidate.depth / 8 for r in rows], alpha=0.8)


def describe(rows, errors=None):
    """The report as text: costs, front, measured networks, effect of each axis on the error, the paper's rules.

    Args:
        rows: list of `GridRow`.
        errors: median relative errors of the fitted times, as `measure` returns them.
    """
    first = "width  depth    px      parameters   M multiply-adds  memory GiB"
    lines = [f"{len(rows)} networks. The front: most multiply-adds for their "
             + ("time." if has_times(rows) else "memory."), "",
             first + ("  step ms  inference ms" if has_times(rows) else "")]
    front, count = pareto_indices(rows), MAX_ROWS_SHOWN
    shown = sorted({front[round(i * (len(front) - 1) / (count - 1))] for i in range(count)}, key=front.index)
    for index in shown:
        c, row = rows[index].candidate, rows[index]
        times = "" if not has_times(rows) else f"{1e3 * row.step:>9.1f}{1e3 * row.latency:>14.1f}"
        lines.append(f"{c.width:>5g}{c.depth:>7}{c.resolution:>6}{c.parameters:>16,}{c.macs / 1e6:>18,.1f}"
                     f"{row.memory / 2**30:>12.2f}{times}{'' if row.measured or not times else '  fitted'}")
    lines.append("" if len(shown) == len(front) else f"  ... {len(front)} in all, in scaling.csv\n")
    if errors is not None:
        known = sum(row.measured for row in rows)
        rest = (f" The times of the others are fitted. On the measured networks the fit is off by "
                f"{100 * errors['step']:.0f} % for steps and {100 * errors['latency']:.0f} % for inference (medians).")
        lines += [f"{known} networks were measured.{rest if known < len(rows) else ''}", ""]
    for epochs in sorted({e for row in rows for e in row.errors}):
        trained = [row for row in rows if epochs in row.errors]
        found = grid.gains([row.candidate for row in trained], [row.errors[epochs] for row in trained])
        lines += [grid.summarize_gains(epochs, found), ""]
    return "\n".join([*lines, "The paper's rules: " + "; ".join(grid.RULES) + ".", ""])
