"""Text for consoles and log files."""

import os
import typing


def printable(name: str | os.PathLike) -> str:
    """A file name as one line of valid UTF-8: bytes that are not UTF-8 and control characters become `\\xe9`, `\\n`.

    Names from the file system may contain surrogates for such bytes. Consoles and log files cannot encode them.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def unique_keys(pairs: list[tuple[str, typing.Any]]) -> dict[str, typing.Any]:
    """The dict of a JSON object, for `object_pairs_hook`. Raises `ValueError` for a key that is there twice."""
    found: dict[str, typing.Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:100]!r} is there twice")
        found[key] = value
    return found
