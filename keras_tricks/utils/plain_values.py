"""Checks for values that JSON can represent, and the display of long values in error messages."""

import math

DEEPEST = 20  # levels of lists and dictionaries
LONGEST = 100  # characters of a value in a message
LARGEST = 2**63  # integers beyond it have no tensor type


def check_plain(value, depth=0):
    """Returns a value of numbers, strings, lists and dictionaries.

    Raises:
        ValueError: the value contains another type, a number that is not finite or too large, text that UTF-8 cannot
            encode, or more than 20 levels.
    """
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels of lists and dictionaries")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a dictionary whose keys are not text")
        for key, inner in value.items():
            check_text(key)
            check_plain(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check_plain(inner, depth + 1)
    elif isinstance(value, str):
        check_text(value)
    elif isinstance(value, (int, float)):
        if not math.isfinite(value) if isinstance(value, float) else abs(value) >= LARGEST:
            raise ValueError("a number that is not finite or too large")
    elif value is not None:
        raise ValueError(f"a {type(value).__name__}, which JSON cannot hold")
    return value


def check_text(text):
    """Returns a text. Raises `ValueError` if it contains a null character or cannot be encoded in UTF-8."""
    if "\0" in text:
        raise ValueError("text with a null character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text that UTF-8 cannot encode") from None
    return text


def shown(value):
    """The `repr` of a value for an error message, cut to 100 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list inside itself
        return f"a very large {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
