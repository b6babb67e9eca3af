"""What a user did wrong, said in one line: the argument, what came, what was expected, what to do.

The command line prints a `UserError` on stderr and exits with code 2, without a traceback.
"""

import difflib
import logging


class UserError(ValueError):
    """An error the user can fix. The message is complete and needs no traceback."""


def nearest(word, known):
    """The hint ` Did you mean "resnet50d"?`, or an empty string when nothing in `known` is close to `word`."""
    match = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f' Did you mean "{match[0]}"?' if match else ""


def check_choice(argument, value, choices):
    """Returns `value` when it is one of `choices`, raises a `UserError` naming the nearest choice otherwise."""
    if value not in choices:
        expected = ", ".join(repr(c) for c in choices)
        raise UserError(f"`{argument}` must be one of {expected}. Received: {value!r}.{nearest(value, choices)}")
    return value


def is_ours(record):
    """Filter of a log handler: lets this package's lines pass, and of others' only errors."""
    return "keras_tricks" in record.pathname or record.levelno >= logging.ERROR
