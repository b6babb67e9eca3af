"""Convolution with scaled weight standardization, the building block of normalizer-free networks.

Formula    W' = gain * (W - mean) / sqrt(max(N * var, eps)), mean and var over the fan-in N of an output channel
Paper      Brock et al. 2021, arXiv:2101.08692, section 3.2
Recipe     scaled_ws: model.options.scaled_ws=true
Use when   building a residual network without batch normalization
Do not     add batch normalization after it, which undoes gain and scale: use `kt.layers.WSConv2D` there
Cost       unknown in training; none once folded (`kt.export.fold`)
Differs    nothing with the default `eps_mode="max"`, `eps=1e-4` (DeepMind). timm adds 1e-5 to the variance:
           `eps_mode="add", eps=1e-5`
Status     in every model of `kt.models` whose name starts with nf
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers.grouped_conv2d import add_bias, grouped_convolution
from keras_tricks.ops.standardize_kernel import EPS_MODES, standardize_kernel
from keras_tricks.utils.errors import check_choice
from keras_tricks.utils.types import Initializer


@keras.saving.register_keras_serializable(package="keras_tricks")
class ScaledWSConv2D(keras.layers.Conv2D):
    """2-D convolution whose kernel is standardized, scaled by fan-in and multiplied by a trained gain.

    The statistics are float32 under every mixed-precision policy. The kernel is standardized once per call.

    Args:
        filters, kernel_size, strides, padding, groups, use_bias, ...: as `keras.layers.Conv2D`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: normal over fan-in, as DeepMind's.
        use_gain: bool, whether to train one factor per output channel. Defaults to `True`.
        gain_initializer: Keras initializer identifier. Defaults to `"ones"`.
        eps: float >= 0. Defaults to `1e-4`.
        eps_mode: `"max"` or `"add"`; see `kt.ops.standardize_kernel`. Defaults to `"max"`.
        scale: float, a constant factor of the kernel. Defaults to `1.0`.

    Input shape: `(batch, height, width, channels)`. Output shape: as `keras.layers.Conv2D`.

    Raises:
        UserError: an unknown `eps_mode`.
    """

    def __init__(self, filters: int, kernel_size: int | Sequence[int], strides: int | Sequence[int] = (1, 1),
                 padding: str = "valid", groups: int = 1, use_bias: bool = True, kernel_initializer: Initializer = None,
                 use_gain: bool = True, gain_initializer: Initializer = "ones", eps: float = 1e-4,
                 eps_mode: str = "max", scale: float = 1.0, **kwargs: Any) -> None:
        check_choice("eps_mode", eps_mode, EPS_MODES)
        super().__init__(filters, kernel_size, strides, padding, groups=groups, use_bias=use_bias,
                         kernel_initializer=kernel_initializer or fan_in_normal(), **kwargs)
        self.use_gain, self.gain_initializer = use_gain, keras.initializers.get(gain_initializer)
        self.eps, self.eps_mode, self.scale = eps, eps_mode, scale

    def build(self, input_shape: Any) -> None:
        self.gain = None
        super().build(input_shape)
        if self.use_gain:
            self.gain = self.add_weight(name="gain", shape=(self.filters,), initializer=self.gain_initializer)

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras', but reads kernel and gain in float32, which the statistics need."""
        return super().add_weight(*args, **{**kwargs, "autocast": kwargs.get("name") == "bias"})

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        kernel = keras.ops.cast(self.standardized_kernel(), self.compute_dtype)
        return grouped_convolution(super().convolution_op, inputs, kernel, self)

    def call(self, inputs: Any) -> Any:
        return add_bias(self, self.convolution_op(inputs, self.kernel))

    def standardized_kernel(self) -> Any:
        """The standardized kernel, float32 `(height, width, in / groups, out)`."""
        return _standardize(self.kernel, self.gain, self.eps, self.eps_mode, self.scale)

    # Keras' convolution saves kernel and bias by number and refuses to load any more variables.

    def save_own_variables(self, store: Any) -> None:
        for number, variable in enumerate(self.trained()):
            store[str(number)] = variable

    def load_own_variables(self, store: Any) -> None:
        for number, variable in enumerate(self.trained()):
            variable.assign(store[str(number)])

    def trained(self) -> list[Any]:
        """Those of kernel, bias and gain that the layer has."""
        return [v for v in (self.kernel, self.bias, self.gain) if v is not None]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_gain": self.use_gain,
            "gain_initializer": keras.initializers.serialize(self.gain_initializer),
            "eps": self.eps,
            "eps_mode": self.eps_mode,
            "scale": self.scale,
        }


def fan_in_normal():
    """Normal with variance 1 / fan-in; a new object each time."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")


def _standardize(kernel, gain, eps, eps_mode, scale):
    """`standardize_kernel`; on a CPU through TensorFlow's batch-normalization kernel, which takes half the time."""
    if keras.backend.backend() != "tensorflow" or gain is None:
        return standardize_kernel(kernel, gain, eps, eps_mode, scale)
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return standardize_kernel(kernel, gain, eps, eps_mode, scale)
    kernel, gain = tf.convert_to_tensor(kernel), tf.convert_to_tensor(gain)
    fan_in = math.prod(kernel.shape[:-1])
    flat = tf.reshape(kernel, (1, fan_in, 1, kernel.shape[-1]))
    fast, _, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=flat, scale=gain * (scale * fan_in**-0.5), offset=tf.zeros_like(gain), mean=[], variance=[],
        epsilon=eps if eps_mode == "add" else 1e-30, is_training=True,
    )
    fast = tf.reshape(fast, kernel.shape)
    if eps_mode == "add":
        return fast
    # The fused kernel divides the variance by N - 1; `eps` matters only for nearly constant units.
    return tf.cond(tf.reduce_all(variance * max(fan_in - 1, 1) > eps), lambda: fast,
                   lambda: standardize_kernel(kernel, gain, eps, eps_mode, scale))
