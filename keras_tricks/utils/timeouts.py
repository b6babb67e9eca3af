"""How long a process waits for other processes: workers for each other, a training for its data service."""

import math
import os

from keras_tricks.utils.errors import UserError

SECONDS = 300
NAMES = ("KERAS_TRICKS_TIMEOUT", "KERAS_TRICKS_PATIENCE")  # the second is the former name


def default_timeout():
    """Seconds to wait: `KERAS_TRICKS_TIMEOUT`, by default 300. Raises `UserError` unless it is > 0."""
    name = next((name for name in NAMES if os.environ.get(name)), NAMES[0])
    text = os.environ.get(name) or SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"{name} must be a number of seconds > 0. Received: {text!r}")
    return seconds
