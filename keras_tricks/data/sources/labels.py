"""Class names and integer labels from the labels that a table has: names, or numbers."""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from keras_tricks.data.sources.file_access import read_regular_file
from keras_tricks.utils.class_names import read_class_names
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.text import printable

CLASS_FILES = ("classes.json", "classes.txt")
WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan", re.IGNORECASE)
SHOWN = 3  # places in a message


def known_class_names(folder: pathlib.Path) -> tuple[str, ...] | None:
    """The names in `classes.json` (a list) or `classes.txt` (one a line) of a folder, in label order; else `None`.

    Raises:
        UserError: such a file cannot be read, is empty or has a name twice.
    """
    for path in (folder / name for name in CLASS_FILES):
        if path.suffix == ".json" and path.is_file():
            return read_class_names(path)
        if path.is_file():
            try:
                lines = [line.strip() for line in read_regular_file(path).decode("utf-8-sig").splitlines()]
            except ValueError as error:
                raise UserError(f"{printable(path)} cannot be read as UTF-8 text ({error}).") from None
            names = tuple(line for line in lines if line)
            if not names or len(set(names)) < len(names):
                raise UserError(f"{printable(path)} must have the name of one class on each line, each name once.")
            return names
    return None


def number_labels(texts: Sequence[str], places: Sequence[str] | None, known: Sequence[str] | None, where: str
                  ) -> tuple[tuple[str, ...], np.ndarray]:
    """The class names, and the label of each example.

    If all labels are whole numbers, they are the names of the classes in numerical order, unless the names are known:
    then a number is a place in their list. Other labels are names, in alphabetical order or that of the known names.

    Args:
        texts: the label of each example, as text.
        places: where each of them is, for messages, such as `"line 7"`. Defaults to `None`: by number.
        known: class names in label order, or `None`.
        where: what has these labels, for messages.

    Returns:
        (names, int32 array `(n,)`).

    Raises:
        UserError: a negative or fractional number, or a label that is not one of the known ones.
    """
    values = {text: text for text in dict.fromkeys(texts)}  # in the order of their first use
    numeric = bool(values) and all(NUMBER.fullmatch(text) for text in values)
    if numeric and not (known and set(values) <= set(known)):
        values = {text: _whole(text) for text in values}
    wrong = [text for text, value in values.items() if value is None]
    if wrong:
        raise UserError(f"{where}: a label must be a name or a whole number from 0. Received: {_shown(wrong)} "
                        f"({_places(wrong, texts, places)}).")
    if known is None:
        key = int if numeric else str
        names = tuple(str(value) for value in sorted(map(key, set(values.values()))))
        table = {name: label for label, name in enumerate(names)}
    else:
        names = tuple(known)
        table = {str(label): label for label in range(len(names))} if numeric else {}
        table |= {name: label for label, name in enumerate(names)}
    outside = [text for text, value in values.items() if value not in table]
    if outside:
        expected = f"a name of the {len(names)} classes, or a number from 0 to {len(names) - 1}"
        raise UserError(f"{where}: the label {_shown(outside)} ({_places(outside, texts, places)}) is not {expected}."
                        f"{nearest(outside[0], names)}")
    return names, np.array([table[values[text]] for text in texts], "int32")


def _whole(text):
    """A whole number >= 0 as text without sign and fraction, or `None`."""
    match = WHOLE.fullmatch(text)
    return str(int(match[1])) if match and int(match[1]) >= 0 else None


def _shown(texts):
    return ", ".join(repr(text[:100]) for text in texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _places(chosen, texts, places):
    """Where the first few labels of some values are."""
    chosen = set(chosen)
    found = [i for i, text in enumerate(texts) if text in chosen]
    named = [places[i] if places is not None else f"example {i}" for i in found[:SHOWN]]
    return ", ".join(named) + (f", {len(found) - SHOWN:,} more" if len(found) > SHOWN else "")
