"""Models and callbacks as a user writes them, named by import path in tests: `support.own_parts:build`."""

import keras


def build(input_shape, classes, width=8):
    """A small network with unnamed layers, batch statistics and dropout. Returns logits."""
    x = inputs = keras.Input(input_shape)
    for strides in (1, 2):
        x = keras.layers.Conv2D(width * strides, 3, strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def softmax(input_shape, classes):
    model = build(input_shape, classes)
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


def hidden_softmax(input_shape, classes):
    """Probabilities from a layer that does not say so."""
    model = build(input_shape, classes)
    return keras.Model(model.input, keras.layers.Lambda(keras.ops.softmax)(model.output))


def seven_classes(input_shape, classes):
    return build(input_shape, 7)


def five_channels(input_shape, classes):
    return build((*input_shape[:2], 5), classes)


def rescaled(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, build(input_shape, classes)(keras.layers.Rescaling(1 / 255)(inputs)))


def raises(input_shape, classes):
    raise RuntimeError("no such layer\nwith details")


def no_model(input_shape, classes):
    return "a model"


def no_classes(input_shape):
    return build(input_shape, 10)


@keras.saving.register_keras_serializable(package="own_parts")
class Subclassed(keras.Model):
    def __init__(self, classes, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.convolution, self.classifier = keras.layers.Conv2D(8, 3), keras.layers.Dense(classes)

    def call(self, images):
        return self.classifier(keras.ops.mean(self.convolution(images), axis=(1, 2)))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def subclassed(input_shape, classes):
    return Subclassed(classes)


class Count(keras.callbacks.Callback):
    """Counts batches and sums their logs, in its state also over interruptions."""

    def __init__(self):
        super().__init__()
        self.batches, self.total = 0, 0.0

    def get_state(self):
        return {"batches": self.batches, "total": self.total}

    def set_state(self, state):
        self.batches, self.total = state["batches"], state["total"]

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.total += logs["loss"] + logs["top1"]


def hooks(recipe):
    """Halves the learning rate after every epoch but the first, and stops the run after four epochs."""
    return [
        Count(),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=10.0),
        keras.callbacks.EarlyStopping("val_loss", patience=3, min_delta=10.0),
    ]


def one_hook():
    return keras.callbacks.EarlyStopping("val_top1", patience=5)


def no_hook():
    return [keras.callbacks.EarlyStopping(), 3]


NUMBER = 7
