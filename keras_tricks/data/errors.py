"""Errors of the input pipeline, recognised by TensorFlow's message and translated into `UserError`s.

TensorFlow has no separate error class for a label out of range or for an image that cannot be decoded. The messages are
those of TensorFlow 2.21. `tests/test_training.py` provokes a label out of range and fails when TensorFlow changes it.
"""

import tensorflow as tf

from keras_tricks.data.sources.source import Source
from keras_tricks.utils.errors import UserError

PIPELINE_ERROR = tf.errors.OpError  # whatever fails inside a `tf.data` pipeline, or in TensorFlow's step
CONNECTION_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
OUT_OF_RANGE = "is not in [0, "
IMAGE_KEYWORDS = ("JPEG", "jpeg", "PNG", "image data")


def explain_error(error: tf.errors.OpError, source: Source) -> UserError | None:
    """The `UserError` for a `tf.errors.OpError` raised while a source was read, or `None` if it has another cause.

    Raises:
        UserError: the cause was too many broken images.
    """
    for split in (source.train, source.validation):
        if split.bad is not None:
            split.bad.check()
    text = error.message or str(error)
    if OUT_OF_RANGE in text and "Gather" in text:
        return UserError(f"A label of {source.name} is not one of its {source.num_classes} classes: "
                         f"{_line_with(text, OUT_OF_RANGE)}")
    if any(word in text for word in IMAGE_KEYWORDS):
        return UserError(f"An image of {source.name} cannot be decoded: {text.splitlines()[0]} "
                         "`keras-tricks data check` finds it.")
    return None


def _line_with(text, word):
    """The line of a message that contains `word`. TensorFlow's first lines only name the operation."""
    return next((line.strip() for line in text.splitlines() if word in line), text.splitlines()[0])
