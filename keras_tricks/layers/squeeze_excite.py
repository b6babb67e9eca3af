"""Squeeze-and-excitation: multiplies every channel of an image by a gate computed from the means of all channels.

Formula    y = scale * x * sigmoid(W2 act(W1 mean(x) + b1) + b2), W1: C -> ratio * C, W2: back to C
Paper      Hu et al. 2018, arXiv:1709.01507; scale 2: Brock et al. 2021, arXiv:2102.06171, section 4
Recipe     squeeze_excite: model.options.se_ratio=0.25
Use when   building ResNet-RS (ratio 0.25) or NFNets (ratio 0.5 and scale 2, so that the gate starts around 1)
Do not     expect it to be free of parameters: at ratio 0.25 it adds a third to ResNet-50
Cost       2 * ratio * C^2 parameters; one multiplication of, and one mean over, the feature map
Differs    nothing. The NFNet paper's figure shows GELU inside; its code has ReLU, as here
Status     in ResNet-RS and the NFNets; logits of both equal timm's (tests/weights)
"""

from typing import Any

import keras

from keras_tricks.utils.types import Activation


@keras.saving.register_keras_serializable(package="keras_tricks")
class SqueezeExcite(keras.layers.Layer):
    """Gates the channels of an image.

    Args:
        ratio: float > 0, hidden units per channel. Defaults to `0.25`.
        scale: float, a constant factor of the gate. Defaults to `1.0`.
        activation: Keras activation of the hidden units. Defaults to `"relu"`.

    Input shape: `(batch, height, width, channels)`. Output shape: the same.
    """

    def __init__(self, ratio: float = 0.25, scale: float = 1.0, activation: Activation = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio, self.scale = ratio, scale
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        channels = input_shape[-1]
        self.layers = [
            keras.layers.GlobalAveragePooling2D(keepdims=True, name="mean", dtype=self.dtype_policy),
            keras.layers.Dense(max(1, int(channels * self.ratio)), self.activation, name="fc1",
                               kernel_initializer=_fan_in(), dtype=self.dtype_policy),
            keras.layers.Dense(channels, "sigmoid", name="fc2", kernel_initializer=_fan_in(),
                               dtype=self.dtype_policy),
        ]
        shape = tuple(input_shape)
        for layer in self.layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, inputs: Any) -> Any:
        gate = inputs
        for layer in self.layers:
            gate = layer(gate)
        return inputs * (gate * keras.ops.cast(self.scale, gate.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "scale": self.scale,
            "activation": keras.activations.serialize(self.activation),
        }


def _fan_in():
    """Truncated normal with variance 1 / fan-in, Haiku's default for linear layers."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
