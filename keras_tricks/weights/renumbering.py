"""Paths of variables whose layers Keras named: `conv2d_5/kernel`.

Keras numbers unnamed layers across the whole process, so their names depend on the models built before.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

SEGMENT = re.compile(r"(.*?)(?:_(\d+))?")


def renumbered(variables: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """{name in a file: variable}, if paths and names are the same up to these numbers; else the variables unchanged.

    Args:
        variables: {path: variable} of a model, in the order of a file's names once their numbers are counted from 0.
        names: names of the tensors in a file.
    """
    names = list(names)
    if set(variables) <= set(names):
        return dict(variables)
    ours, theirs = _counted(variables), {counted: name for name, counted in _counted(names).items()}
    if len(theirs) < len(names) or not set(ours.values()) <= set(theirs):
        return dict(variables)
    return {theirs[ours[path]]: variable for path, variable in variables.items()}


def _counted(paths):
    """{path: path with the ranks of the numbers}: `conv2d_5/kernel` and `conv2d_9/kernel` become 0 and 1."""
    numbers = {}  # {(path before a segment, its word): numbers}
    for path in paths:
        before = ""
        for segment in path.split("/"):
            word, number = SEGMENT.fullmatch(segment).groups()
            numbers.setdefault((before, word), set()).add(int(number or 0))
            before += f"/{word}"
    ranks = {key: {n: rank for rank, n in enumerate(sorted(found))} for key, found in numbers.items()}
    found = {}
    for path in paths:
        before, segments = "", []
        for segment in path.split("/"):
            word, number = SEGMENT.fullmatch(segment).groups()
            segments.append(f"{word} {ranks[before, word][int(number or 0)]}")
            before += f"/{word}"
        found[path] = "/".join(segments)
    return found
