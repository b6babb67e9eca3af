"""Errors that a user can fix, in one line: the argument, the value received, the values expected, the remedy.

The command line prints a `UserError` on stderr and exits with code 2, without a traceback.
"""

import difflib
import logging
import re
import unicodedata


class UserError(ValueError):
    """An error the user can fix. The message is complete and needs no traceback."""


def nearest(word, known, cutoff=0.5):
    """The hint ` Did you mean "resnet50d"?`, or an empty string if nothing in `known` is close to `word`.

    Names that look the same and differ in their Unicode characters are shown with these.
    """
    names = [str(k) for k in known]
    if same := next((name for name in names if name != word and _composed(name) == _composed(str(word))), None):
        return f' "{same}" looks the same in other Unicode characters ({ascii(same)}, {ascii(str(word))}): rename one.'
    match = difflib.get_close_matches(str(word), names, n=1, cutoff=cutoff)
    return f' Did you mean "{match[0]}"?' if match else ""


def _composed(text):
    """A text with `é` as one character: macOS writes file names with the accent as a character after the `e`."""
    return unicodedata.normalize("NFC", text)


def nearest_path(path, known):
    """The hint ` Did you mean "schedule.epochs"?` for a dotted path, or an empty string.

    It tries in this order: the same key in another section; a key of the same section that starts with it, is spelt
    similarly or contains it as a word; such a key of another section; a key with these initials (`lr` for
    `learning_rate`).
    """
    section, _, last = str(path).rpartition(".")
    parts = [(k, *k.rpartition(".")[::2]) for k in map(str, known)]
    own = {key: k for k, owner, key in parts if owner == section}
    every = {key: k for k, _, key in reversed(parts)}

    def similar(keys, cutoff):
        return [keys[key] for key in difflib.get_close_matches(last, keys, 1, cutoff)]

    def containing(keys):
        return [k for key, k in keys.items() if len(last) > 2 and f"_{last}_" in f"_{key}_"]

    def initials(keys):
        return [k for key, k in keys.items() if len(last) > 1 and _initials(key).endswith(last)]

    found = ([every[last]] if last in every else [])
    found += [k for key, k in own.items() if last and key.startswith(f"{last}_")]
    found += similar(own, 0.7) + containing(own) + initials(own)
    found += containing(every) + similar(every, 0.7) + initials(every)
    return f' Did you mean "{found[0]}"?' if found else nearest(path, known) if section not in _sections(known) else ""


def nearest_key(word, keys):
    """The path in `keys` whose last part is `word`, ends with it or has its initials (`lr`); else `None`."""
    last = {path: path.rpartition(".")[2] for path in keys}
    paths = [path for path in keys if word in (path, last[path])]
    paths += [path for path in keys if len(word) > 1 and last[path].endswith(f"_{word}")]
    paths += [path for path in keys if len(word) > 1 and _initials(last[path]).endswith(word)]
    return next(iter(paths), None)


def _initials(key):
    """`"blr"` of `"base_learning_rate"`; nothing of a single word."""
    return "".join(part[:1] for part in key.split("_")) if "_" in key else ""


def _sections(known):
    return {str(k).rpartition(".")[0] for k in known}


def check_choice(argument, value, choices):
    """Returns `value` if it is one of `choices`; otherwise raises a `UserError` that names the nearest choice."""
    if value not in tuple(choices):
        expected = ", ".join(repr(c) for c in choices)
        raise UserError(f"`{argument}` must be one of {expected}. Received: {value!r}.{nearest(value, choices)}")
    return value


def one_line(error, longest=2000):
    """The message of an error on one line of at most `longest` characters: a `UserError` whole, else the first line."""
    text = str(getattr(error, "message", None) or error)
    if isinstance(error, OSError) and error.strerror:
        name = str(error.filename)
        name = name if len(name) < 200 else f"{name[:97]}..."
        text = f"{name}: {error.strerror}" if error.filename is not None else error.strerror
    elif not isinstance(error, UserError):
        text = _cause(text) or type(error).__name__
        longest = min(longest, 300)
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _cause(text):
    """The first line of a message; of an error in a TensorFlow graph, the last one that names no node of the graph."""
    text = re.sub(r"\s*\[\[.*?\]\]|\{\{[^}]*\}\}\s*", "", text)  # names of graph nodes
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):
        places = ("Graph execution error", "Detected at node", "<stack traces", "File ", "[Op:", "(0)", "(1)")
        return next((line for line in reversed(lines) if not line.startswith(places)), lines[0])
    return lines[0] if lines else ""


def keep_traceback(error, path):
    """Records on an error that its traceback was written to the file `path`."""
    error.kept_in = path


def kept_traceback(error):
    """The file with the traceback of an error, or `None`."""
    return getattr(error, "kept_in", None)


def is_ours(record):
    """Log filter that passes records of this package, and only errors of other packages."""
    return "keras_tricks" in record.pathname or record.levelno >= logging.ERROR
