"""Whether a row of an ablation pays: the difference to the row it is compared with, over the seeds that both have.

A seed gives both rows the same data order and the same start, so their difference varies less than either. The interval
is that of the paired t-test.
"""

import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The difference of a row to the row it is compared with. Accuracies are in percentage points.

    Attributes:
        name, against: names of the two rows.
        seeds: number of seeds that ended in both rows.
        mean: mean difference of top-1, positive if the row is better.
        low, high: its 95 % confidence interval; `None` with one seed.
        minutes: mean difference of the minutes of a run.
    """

    name: str
    against: str
    seeds: int
    mean: float
    low: float | None
    high: float | None
    minutes: float

    @property
    def verdict(self):
        """`"better"` or `"worse"` if the interval leaves out 0, else `"not decided"`."""
        if self.low is None or self.low <= 0 <= self.high:
            return "not decided"
        return "better" if self.low > 0 else "worse"

    @property
    def minutes_per_point(self):
        """Further minutes of a run for each point that it gains; `None` unless the row is better."""
        return self.minutes / self.mean if self.verdict == "better" else None

    def __str__(self):
        text = f"{self.mean:+.2f}"
        if self.low is not None:
            text += f" [{self.low:+.2f}, {self.high:+.2f}]"
        text = f"{self.name}: {text} points over {self.against}, {self.seeds} paired seeds, {self.verdict}"
        if self.minutes_per_point is not None:
            return f"{text}, {self.minutes_per_point:+.2f} minutes per point"
        return f"{text}, {self.minutes:+.2f} minutes"


def paired_interval(differences, confidence=0.95):
    """(mean, low, high) of paired differences: mean ± t * sd / sqrt(n); low and high are `None` for one number.

    Args:
        differences: one number or more.
        confidence: float in (0, 1). Defaults to `0.95`.
    """
    from scipy.stats import t

    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return mean, None, None
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half


def paired_differences(rows, results):
    """A `PairedDifference` for every row that shares a finished seed with the row it is compared with.

    Args:
        rows: list of `AblationRow`.
        results: list of `Result`. Runs that diverged have no seed in common with any other.
    """
    runs = {(r.row, r.seed): r for r in results if r.top1 is not None}
    found = []
    for number, row in enumerate(rows):
        seeds = sorted(seed for own, seed in runs if own == number and (row.against, seed) in runs)
        if row.against is None or not seeds:
            continue
        pairs = [(runs[number, seed], runs[row.against, seed]) for seed in seeds]
        mean, low, high = paired_interval([own.top1 - other.top1 for own, other in pairs])
        minutes = statistics.fmean(own.minutes - other.minutes for own, other in pairs)
        found.append(PairedDifference(row.name, rows[row.against].name, len(seeds), mean, low, high, minutes))
    return found
