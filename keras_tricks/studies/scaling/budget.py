"""Budgets of multiply-adds, time and memory, and the networks that use a budget best."""

import math

from keras_tricks.studies.scaling import grid
from keras_tricks.utils.errors import UserError, nearest

UNITS = {
    "macs": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "latency": {"ms": 1e-3, "s": 1},
    "memory": {"MiB": 2**20, "GiB": 2**30, "MB": 1e6, "GB": 1e9},
}
EXAMPLES = {"macs": "macs=4.5G", "latency": "latency=20ms", "memory": "memory=8GiB"}


def parse_budget(text, flag="--budget", shown=None):
    """`"macs=4.5G"` -> `("macs", 4.5e9)`, in multiply-adds, seconds or bytes.

    Args:
        text: string.
        flag, shown: name of the argument and its value on the command line, for the message.

    Raises:
        UserError: an unknown kind of budget, or an amount that is not a number above 0.
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
    """The amount that a row uses of a kind of budget. Raises `UserError` if the times are unknown."""
    if kind == "latency" and row.latency is None:
        raise UserError("A latency budget needs measured times: --measure 4 or more.")
    return {"macs": row.candidate.macs, "latency": row.latency, "memory": row.memory}[kind]


def advice(rows, budget):
    """Yields lines of text: the deepest and the widest of the candidates that use a budget best.

    Args:
        rows: list of `GridRow`.
        budget: text, such as `"macs=4.5G"`.
    """
    kind, amount = parse_budget(budget)
    by_candidate = {row.candidate: row for row in rows}
    choice = grid.best_within_budget(list(by_candidate), amount, lambda c: spent(by_candidate[c], kind), budget)
    deep = max(choice, key=lambda c: (c.depth, -c.resolution, c.width))
    wide = max(choice, key=lambda c: (c.width, -c.resolution, c.depth))
    yield f"Budget {budget}: {len(choice)} networks use it best. By the paper's rules, found on ImageNet:"
    for regime, c in (("long training", deep), ("short training", wide)):
        yield (f"  {regime:<15}width {c.width:g}, depth {c.depth}, {c.resolution} px: {c.macs / 1e9:.2f} G "
               f"multiply-adds, {c.parameters / 1e6:.1f} M parameters")
