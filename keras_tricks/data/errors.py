"""Errors of the input pipeline, recognised by TensorFlow's text and put in the user's terms.

TensorFlow gives no error class of its own to a label out of range or to an image that cannot be decoded. The texts were
read in TensorFlow 2.21; `tests/data/test_errors.py` provokes each of them, and fails when TensorFlow changes.
"""

from keras_tricks.utils.errors import UserError

OUT_OF_RANGE = "is not in [0, "
IMAGE_WORDS = ("JPEG", "jpeg", "PNG", "image data")


def explain_error(error, source):
    """The `UserError` for a `tf.errors.OpError` raised while a source was read, or `None` when it has another cause.

    Raises:
        UserError: more broken images than allowed, which is the cause then.
    """
    for split in (source.train, source.validation):
        if split.bad is not None:
            split.bad.check()
    text = error.message or str(error)
    if OUT_OF_RANGE in text and "Gather" in text:
        return UserError(f"A label of {source.name} is not one of its {source.num_classes} classes: "
                         f"{_line_with(text, OUT_OF_RANGE)}")
    if any(word in text for word in IMAGE_WORDS):
        return UserError(f"An image of {source.name} cannot be decoded: {text.splitlines()[0]} "
                         "`keras-tricks data check` finds it.")
    return None


def _line_with(text, word):
    """The line of a message that holds `word`; TensorFlow's first lines only say where."""
    return next((line.strip() for line in text.splitlines() if word in line), text.splitlines()[0])
