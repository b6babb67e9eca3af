"""Adds one trained number to a whole feature map.

Formula    y = x + bias, bias trained, 0 at the start
Paper      Zhang et al. 2019 (Fixup), arXiv:1901.09321, section 3
Recipe     always on in fixup_resnet50
Use when   building a Fixup network: before every convolution and activation
Do not     decay it; Fixup also trains it at a tenth of the learning rate
Cost       one addition
Differs    nothing
Status     in `fixup_resnet50`
"""

from typing import Any

import keras

from keras_tricks.ops.broadcast import add_parameter


@keras.saving.register_keras_serializable(package="keras_tricks")
class ScalarBias(keras.layers.Layer):
    """Adds a trained scalar.

    Input and output shape: any.
    """

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return add_parameter(inputs, keras.ops.cast(self.bias, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
