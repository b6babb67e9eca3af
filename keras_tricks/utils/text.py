"""Text for consoles and log files."""

import os


def printable(name: str | os.PathLike) -> str:
    """A file name as one line of valid UTF-8: bytes that are not UTF-8 and control characters become `\\xe9`, `\\n`.

    Names from the file system may contain surrogates for such bytes. Consoles and log files cannot encode them.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
