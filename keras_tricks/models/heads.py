"""Input and output shared by all families: argument checks, input tensor, pooling and classifier."""


import keras

from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.graph import deep_graphs


def image_input(input_tensor, input_shape, include_top, default_size):
    """The input tensor of a model, from arguments named as in `keras.applications`.

    Returns:
        A Keras tensor `(batch, height, width, channels)`; height and width may be `None` (any size).

    Raises:
        UserError: a shape that is not three numbers.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UserError("The models are channels-last. Call keras.config.set_image_data_format('channels_last') first.")
    if input_tensor is not None:
        return input_tensor if keras.backend.is_keras_tensor(input_tensor) else keras.Input(tensor=input_tensor)
    if input_shape is None:
        input_shape = (default_size, default_size, 3) if include_top else (None, None, 3)
    if len(input_shape) != 3 or any(s is not None and s < 1 for s in input_shape):
        raise UserError(f"`input_shape` must be (height, width, channels), each > 0 or None. Received: {input_shape}")
    return keras.Input(shape=tuple(input_shape), name="image")


def symmetric_max_pool(x, name, never_negative=False):
    """Max pooling over 3x3 windows with stride 2 and symmetric padding that never affects the maximum.

    `padding="same"` pads even sizes only on the right and the bottom. Zero padding does not affect the maximum of
    values that are `never_negative` (after a ReLU). Other values are pooled symmetrically with stride 1, and every
    second window is kept.
    """
    if never_negative:
        return keras.layers.MaxPooling2D(3, 2, name=name)(keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x))
    x = keras.layers.MaxPooling2D(3, 1, "same", name=f"{name}_windows")(x)
    return keras.layers.MaxPooling2D(1, 2, name=name)(x)


def classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate=0.0, name="head", **dense):
    """Global average pooling, dropout, Dense and activation; without `include_top` only the chosen `pooling`.

    The Dense layer and the activation compute in float32 under every mixed-precision policy. `dense` holds other
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


def finish(inputs, outputs, name, weights):
    """The functional model, with `weights` loaded unless they are `None`; see `keras_tricks.weights.load`."""
    source = keras.utils.get_source_inputs(inputs)[0] if hasattr(keras.utils, "get_source_inputs") else inputs
    with deep_graphs():
        model = keras.Model(source, outputs, name=name)
    if weights is not None:
        from keras_tricks.weights import load

        load(model, weights, new_head=True)
    return model
