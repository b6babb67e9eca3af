"""An activation multiplied by the constant that keeps the variance of normal inputs at 1.

Formula    y = gain * f(x), gain = 1 / sqrt(Var f(z)), z ~ N(0, 1)
Paper      Brock et al. 2021, arXiv:2101.08692, section 3.2
Recipe     always on in nf_resnet* and nfnet_*
Use when   in front of every scaled weight-standardized convolution
Do not     in networks with normalization: the next norm divides the constant out
Cost       one multiplication; none once folded into the next convolution (`kt.export.fold`)
Differs    the default constants are DeepMind's, sample estimates up to 0.1 % above the exact integrals, because
           checkpoints were trained with them; `gain="exact"` integrates
Status     in every model of `kt.models` whose name begins with nf
"""

import functools

import keras
import numpy as np

from keras_tricks.utils.errors import check_choice

# Estimated by DeepMind from random numbers (nfnets/base.py), copied by timm.
DEEPMIND_GAINS = {
    "linear": 1.0,
    "celu": 1.270926833152771,
    "elu": 1.2716004848480225,
    "gelu": 1.7015043497085571,
    "gelu_tanh": 1.7015043497085571,
    "leaky_relu": 1.70590341091156,
    "log_sigmoid": 1.9193484783172607,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "selu": 1.0008515119552612,
    "sigmoid": 4.803835391998291,
    "silu": 1.7881293296813965,
    "softsign": 2.338853120803833,
    "softplus": 1.9203323125839233,
    "tanh": 1.5939117670059204,
}
SAME = {"swish": "silu", "identity": "linear"}


def activation_function(name):
    """A Keras activation; also `"gelu_tanh"`, the approximation JAX calls gelu, and `"leaky_relu"` of slope 0.01."""
    own = {
        "gelu_tanh": functools.partial(keras.activations.gelu, approximate=True),
        "leaky_relu": functools.partial(keras.activations.leaky_relu, negative_slope=0.01),
        "identity": keras.activations.linear,
    }
    return own[name] if name in own else keras.activations.get(name)


def activation_gain(name, gain="deepmind"):
    """The constant an activation is multiplied by.

    Args:
        name: string, of a Keras activation, or `"gelu_tanh"`.
        gain: `"deepmind"`, DeepMind's estimate; `"exact"`, by integration.

    Returns:
        A float.

    Raises:
        UserError: an unknown `gain`, or an activation DeepMind gives no constant for.
    """
    check_choice("gain", gain, ("deepmind", "exact"))
    if gain == "exact":
        return exact_gain(name)
    name = SAME.get(name, name)
    check_choice("activation", name, tuple(DEEPMIND_GAINS))
    return DEEPMIND_GAINS[name]


@functools.cache
def exact_gain(name):
    """1 / sqrt(Var f(z)) by the trapezoidal rule, with a node at 0, where several activations have a kink."""
    z = np.linspace(-12.0, 12.0, 240_001)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    y = np.asarray(keras.ops.convert_to_numpy(activation_function(name)(keras.ops.convert_to_tensor(z))), "float64")
    mean = np.sum(weight * y)
    return float(1.0 / np.sqrt(np.sum(weight * (y - mean) ** 2)))


@keras.saving.register_keras_serializable(package="keras_tricks")
class ScaledActivation(keras.layers.Layer):
    """`scale * gain * activation(x)`.

    Args:
        activation: string, name of a Keras activation, or `"gelu_tanh"`. Defaults to `"relu"`.
        gain: `"deepmind"`, `"exact"` or `"none"` (1, where the next convolution holds the constant). Defaults to
            `"deepmind"`.
        scale: float, a further constant: beta, the expected 1 / std of the block's input. Defaults to `1.0`.

    Input and output shape: any.

    Raises:
        UserError: an unknown `gain`, or no DeepMind constant for the activation.
    """

    def __init__(self, activation="relu", gain="deepmind", scale=1.0, **kwargs):
        super().__init__(**kwargs)
        check_choice("gain", gain, ("deepmind", "exact", "none"))
        self.activation, self.gain, self.scale = activation, gain, scale
        self.function = activation_function(activation)
        self.factor = scale * (1.0 if gain == "none" else activation_gain(activation, gain))

    def call(self, inputs):
        outputs = self.function(inputs)
        return outputs if self.factor == 1.0 else outputs * keras.ops.cast(self.factor, outputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "activation": self.activation, "gain": self.gain, "scale": self.scale}
