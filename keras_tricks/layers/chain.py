"""A layer that applies other layers in order: the base of `DeepStem` and `AvgPoolShortcut`.

Unlike `keras.Sequential` it saves only its own arguments, so that a file describes the layer as the paper does ("a deep
stem of 32, 32, 64 filters") instead of copying the graph. `layers` is public: cost and surgery read it.
"""

from typing import Any

import keras


class Chain(keras.layers.Layer):
    """Base class of layers that apply `self.layers` in order. A subclass sets `self.layers` in `__init__`."""

    def build(self, input_shape: Any) -> None:
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for layer in self.layers:
            inputs = layer(inputs, training=training) if normalizes(layer) else layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape


def normalizes(layer):
    return isinstance(layer, keras.layers.BatchNormalization)
