"""A layer made of layers, applied in order: the form of `DeepStem` and `AvgPoolShortcut`.

Unlike `keras.Sequential` it saves only its own arguments, so a file keeps the words of the paper ("a deep stem of
32, 32, 64 filters") and not a copy of the graph. `layers` is public: cost and surgery look inside.
"""

import keras


class Chain(keras.layers.Layer):
    """Base of layers that are a straight line of layers. A subclass sets `self.layers` in `__init__`."""

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs, training=None):
        for layer in self.layers:
            inputs = layer(inputs, training=training) if normalizes(layer) else layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape


def normalizes(layer):
    return isinstance(layer, keras.layers.BatchNormalization)
