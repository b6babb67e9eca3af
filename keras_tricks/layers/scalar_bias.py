"""One trained number added to a whole feature map.

Formula    y = x + bias, bias trained, 0 at the start
Paper      Zhang et al. 2019 (Fixup), arXiv:1901.09321, section 3
Recipe     always on in fixup_resnet50
Use when   in front of every convolution and activation of a Fixup network
Do not     decay it; Fixup also trains it with a tenth of the learning rate
Cost       one addition
Differs    nothing
Status     in `fixup_resnet50`
"""

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class ScalarBias(keras.layers.Layer):
    """Adds a trained scalar.

    Input and output shape: any.
    """

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, inputs):
        return inputs + keras.ops.cast(self.bias, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
