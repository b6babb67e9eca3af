"""Convolution with groups in TensorFlow's native kernel, and with a bias whose gradient is summed in float32.

Formula    output channels of group g depend only on the input channels of group g
Paper      Krizhevsky et al. 2012; as an architecture: Xie et al. 2017 (ResNeXt), arXiv:1611.05431
Recipe     always on in networks with grouped or biased convolutions
Use when   a model with grouped convolutions trains on the TensorFlow backend, or one with biased ones in bfloat16
Do not     expect a difference in float32 on other backends, where it is `keras.layers.Conv2D`
Cost       less than Keras', which compiles every grouped convolution with XLA: on a CPU the gradient of Keras' took 10
           times as long (Keras 3.15, TensorFlow 2.21, 768 channels in 6 groups)
Differs    nothing but the gradient of a bias in half precision, see `ops/broadcast.py`
Status     in the NFNets, the networks with SkipInit and `kt.export.fold`
"""

from typing import Any

import keras

from keras_tricks.ops.broadcast import add_parameter


@keras.saving.register_keras_serializable(package="keras_tricks")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with the same arguments, weights and results."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return grouped_convolution(super().convolution_op, inputs, kernel, self)

    def call(self, inputs: Any) -> Any:
        return add_bias(self, self.convolution_op(inputs, self.kernel))


def grouped_convolution(plain, inputs, kernel, layer):
    """`plain(inputs, kernel)`, with TensorFlow's native kernel where Keras would compile it with XLA.

    Args:
        plain: Keras' `convolution_op` of the layer.
        inputs: tensor `(batch, height, width, channels)`.
        kernel: tensor `(height, width, channels / groups, filters)`, of the same dtype.
        layer: `keras.layers.Conv2D` that gives strides, padding and dilation.
    """
    if layer.groups == 1 or keras.backend.backend() != "tensorflow":
        return plain(inputs, kernel)
    import tensorflow as tf

    return tf.nn.convolution(inputs, tf.convert_to_tensor(kernel), layer.strides, layer.padding.upper(),
                             dilations=layer.dilation_rate)


def add_bias(layer, outputs):
    """The outputs of a convolution with its bias, if it has one, and its activation, as `keras.layers.Conv2D` has them.

    In bfloat16 and float16 the gradient of the bias is summed in float32, see `ops/broadcast.py`.

    Args:
        layer: `keras.layers.Conv2D`.
        outputs: result of its `convolution_op`, `(batch, height, width, filters)`.
    """
    if layer.use_bias:
        shape = (-1, 1, 1) if layer.data_format == "channels_first" else (-1,)
        outputs = add_parameter(outputs, keras.ops.reshape(layer.bias, shape))
    return outputs if layer.activation is None else layer.activation(outputs)
