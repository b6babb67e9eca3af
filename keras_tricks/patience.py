"""How long a process waits for others: workers for each other, a training for its data service."""

import math
import os

from keras_tricks.errors import UserError

SECONDS = 300


def default_patience():
    """Seconds to wait: `KERAS_TRICKS_PATIENCE`, by default 300. Raises `UserError` unless it is above 0."""
    text = os.environ.get("KERAS_TRICKS_PATIENCE") or SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"KERAS_TRICKS_PATIENCE must be a number of seconds above 0. Received: {text!r}")
    return seconds
