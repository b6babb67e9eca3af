"""What families do the same at both ends: check the arguments, make the input, pool and classify."""

import contextlib
import sys

import keras

from keras_tricks.utils.errors import UserError, check_choice


def image_input(input_tensor, input_shape, include_top, default_size):
    """The input tensor of a model, from `keras.applications` words.

    Returns a Keras tensor `(batch, height, width, channels)`; height and width may be `None` (any size). Raises
    `UserError` for a shape that is not three numbers.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UserError("The zoo is channels-last. Call keras.config.set_image_data_format('channels_last') first.")
    if input_tensor is not None:
        return input_tensor if keras.backend.is_keras_tensor(input_tensor) else keras.Input(tensor=input_tensor)
    if input_shape is None:
        input_shape = (default_size, default_size, 3) if include_top else (None, None, 3)
    if len(input_shape) != 3 or any(s is not None and s < 1 for s in input_shape):
        raise UserError(f"`input_shape` must be (height, width, channels), each > 0 or None. Received: {input_shape}")
    return keras.Input(shape=tuple(input_shape), name="image")


def symmetric_max_pool(x, name, never_negative=False):
    """3x3 windows of stride 2, padded alike on all sides with what never wins.

    `padding="same"` pads even sizes on the right and bottom only. Zeros never win over values that are `never_negative`
    (after a ReLU). For others: windows of stride 1 are symmetric, and every second one of them is kept.
    """
    if never_negative:
        return keras.layers.MaxPooling2D(3, 2, name=name)(keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x))
    x = keras.layers.MaxPooling2D(3, 1, "same", name=f"{name}_windows")(x)
    return keras.layers.MaxPooling2D(1, 2, name=name)(x)


def classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate=0.0, name="head", **dense):
    """Global average pool, dropout, Dense and activation; or only the pooling asked for when `include_top` is False.

    The Dense layer and the activation compute in float32 under every mixed-precision policy. `dense`: further
    arguments of that layer.
    """
    check_choice("pooling", pooling, (None, "avg", "max"))
    if not include_top:
        if pooling is None:
            return x
        pool = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}[pooling]
        return pool(name=f"{name}_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, name=f"{name}_dropout")(x)
    return keras.layers.Dense(classes, classifier_activation, dtype="float32", name=name, **dense)(x)


@contextlib.contextmanager
def _deep_graphs():
    """Keras walks a graph by recursion, and the deepest networks have more than Python's 1,000 levels."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 10_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def finish(inputs, outputs, name, weights):
    """The functional model, with weights loaded when a file or a name is given; see `keras_tricks.weights.load`."""
    source = keras.utils.get_source_inputs(inputs)[0] if hasattr(keras.utils, "get_source_inputs") else inputs
    with _deep_graphs():
        model = keras.Model(source, outputs, name=name)
    if weights is not None:
        from keras_tricks.weights import load

        load(model, weights, new_head=True)
    return model
