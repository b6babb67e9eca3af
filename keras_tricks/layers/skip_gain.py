"""Multiplies a residual branch by one trained number.

Formula    y = scale * gain * x, gain trained, 0 at the start (any value <= 1 / sqrt(depth) works)
Paper      De & Smith 2020 (SkipInit), arXiv:2002.10444; with 1 at the start: Zhang et al. 2019 (Fixup),
           arXiv:1901.09321
Recipe     skip_init: model.options.skip_gain_init=0.0
Use when   training a residual network without normalization: blocks start as the identity
Do not     decay it: `kt.optimizers.no_decay` exempts it, as it exempts biases
Cost       one multiplication per branch
Differs    nothing
Status     in `skipinit_resnet50`, `fixup_resnet50` and the DeepMind layout of `nfnet_f*`, `nf_resnet*`
"""

from typing import Any

import keras

from keras_tricks.ops.broadcast import multiply_parameter


@keras.saving.register_keras_serializable(package="keras_tricks")
class SkipGain(keras.layers.Layer):
    """Multiplies its input by a trained scalar and a constant.

    Args:
        initial: float, initial value of the scalar: 0, or for instance `depth ** -0.5`. Defaults to `0.0`.
        scale: float, a constant factor (alpha of a normalizer-free network). Defaults to `1.0`.

    Input and output shape: any.
    """

    def __init__(self, initial: float = 0.0, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial, self.scale = initial, scale

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(name="gain", shape=(), initializer=keras.initializers.Constant(self.initial))

    def call(self, inputs: Any) -> Any:
        return multiply_parameter(inputs, keras.ops.cast(self.gain * self.scale, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial, "scale": self.scale}
