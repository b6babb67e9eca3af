"""Activation multiplied by the constant that gives unit variance for normal inputs.

Formula    y = gain * f(x), gain = 1 / sqrt(Var f(z)), z ~ N(0, 1)
Paper      Brock et al. 2021, arXiv:2101.08692, section 3.2
Recipe     always on in nf_resnet* and nfnet_*
Use when   building normalizer-free networks: before every scaled weight-standardized convolution
Do not     use it in networks with normalization: the next normalization cancels the constant
Cost       one multiplication; none once folded into the next convolution (`kt.export.fold`)
Differs    the default constants are DeepMind's sample estimates, up to 0.1 % above the exact integrals, because
           checkpoints were trained with them; `gain="exact"` integrates numerically
Status     in every model of `kt.models` whose name starts with nf
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks.ops import gelu, silu
from keras_tricks.utils.errors import check_choice

# DeepMind's estimates from random numbers (nfnets/base.py); timm uses the same values.
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
# In training they need less memory and time.
IN_TRAINING = {"gelu": gelu, "gelu_tanh": functools.partial(gelu, approximate=True), "silu": silu}


def activation_function(name: str) -> Callable[..., Any]:
    """A Keras activation, `"gelu_tanh"` (the approximation that JAX calls gelu) or `"leaky_relu"` with slope 0.01."""
    own = {
        "gelu_tanh": functools.partial(keras.activations.gelu, approximate=True),
        "leaky_relu": functools.partial(keras.activations.leaky_relu, negative_slope=0.01),
        "identity": keras.activations.linear,
    }
    return own[name] if name in own else keras.activations.get(name)


def activation_gain(name: str, gain: str = "deepmind") -> float:
    """The constant that multiplies an activation.

    Args:
        name: string, name of a Keras activation, or `"gelu_tanh"`.
        gain: `"deepmind"` (DeepMind's estimate) or `"exact"` (numerical integration). Defaults to `"deepmind"`.

    Returns:
        A float.

    Raises:
        UserError: an unknown `gain`, or an activation without a DeepMind constant.
    """
    check_choice("gain", gain, ("deepmind", "exact"))
    if gain == "exact":
        return exact_gain(name)
    name = SAME.get(name, name)
    check_choice("activation", name, tuple(DEEPMIND_GAINS))
    return DEEPMIND_GAINS[name]


@functools.cache
def exact_gain(name: str) -> float:
    """1 / sqrt(Var f(z)) by the trapezoidal rule, with a node at 0, where several activations are not smooth."""
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
        gain: `"deepmind"`, `"exact"` or `"none"` (1, for networks whose next convolution holds the constant). Defaults
            to `"deepmind"`.
        scale: float, a second constant: beta, the expected 1 / std of the block's input. Defaults to `1.0`.

    Input and output shape: any.

    Raises:
        UserError: an unknown `gain`, or no DeepMind constant for the activation.
    """

    def __init__(self, activation: str = "relu", gain: str = "deepmind", scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("gain", gain, ("deepmind", "exact", "none"))
        self.activation, self.gain, self.scale = activation, gain, scale
        self.function = activation_function(activation)
        self.factor = scale * (1.0 if gain == "none" else activation_gain(activation, gain))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # In training only, so that an export has standard operations.
        in_training = IN_TRAINING.get(SAME.get(self.activation, self.activation)) if training is True else None
        outputs = (in_training or self.function)(inputs)
        return outputs if self.factor == 1.0 else outputs * keras.ops.cast(self.factor, outputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation, "gain": self.gain, "scale": self.scale}
