"""Convolution with scaled weight standardization, the building block of normalizer-free networks.

Formula    W' = gain * (W - mean) / sqrt(max(N * var, eps)), mean and var over the fan-in N of an output channel
Paper      Brock et al. 2021, arXiv:2101.08692, section 3.2
Recipe     scaled_ws: model.options.scaled_ws=true
Use when   a residual network is built without batch normalization
Do not     put batch normalization behind it: the norm undoes gain and scale. `kt.layers.WSConv2D` is made for that
Cost       unknown in training; nothing once folded (`kt.export.fold`)
Differs    nothing with the default `eps_mode="max"`, `eps=1e-4` (DeepMind). timm adds 1e-5 to the variance:
           `eps_mode="add", eps=1e-5`
Status     in every model of `kt.models` whose name begins with nf
"""

import math

import keras

from keras_tricks.layers.grouped_conv2d import grouped_convolution
from keras_tricks.ops.standardize_kernel import EPS_MODES, standardize_kernel
from keras_tricks.utils.errors import check_choice


@keras.saving.register_keras_serializable(package="keras_tricks")
class ScaledWSConv2D(keras.layers.Conv2D):
    """2-D convolution whose kernel is standardized, scaled by fan-in and multiplied by a trained gain.

    The statistics are float32 under every mixed-precision policy; the kernel is standardized once per call.

    Args:
        filters, kernel_size, strides, padding, groups, use_bias, ...: as `keras.layers.Conv2D`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: normal over fan-in, as DeepMind.
        use_gain: bool, train one factor per output channel. Defaults to `True`.
        gain_initializer: Keras initializer identifier. Defaults to `"ones"`.
        eps: float >= 0. Defaults to `1e-4`.
        eps_mode: `"max"` or `"add"`, see `kt.ops.standardize_kernel`. Defaults to `"max"`.
        scale: float, a constant factor of the kernel. Defaults to `1.0`.

    Input shape: `(batch, height, width, channels)`. Output shape: as `keras.layers.Conv2D`.

    Raises:
        UserError: an unknown `eps_mode`.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", groups=1, use_bias=True,
                 kernel_initializer=None, use_gain=True, gain_initializer="ones", eps=1e-4, eps_mode="max", scale=1.0,
                 **kwargs):
        check_choice("eps_mode", eps_mode, EPS_MODES)
        super().__init__(filters, kernel_size, strides, padding, groups=groups, use_bias=use_bias,
                         kernel_initializer=kernel_initializer or fan_in_normal(), **kwargs)
        self.use_gain, self.gain_initializer = use_gain, keras.initializers.get(gain_initializer)
        self.eps, self.eps_mode, self.scale = eps, eps_mode, scale

    def build(self, input_shape):
        self.gain = None
        super().build(input_shape)
        if self.use_gain:
            self.gain = self.add_weight(name="gain", shape=(self.filters,), initializer=self.gain_initializer)

    def add_weight(self, *args, **kwargs):
        """As Keras', but kernel and gain are read in float32: the statistics of a kernel need it."""
        return super().add_weight(*args, **{**kwargs, "autocast": kwargs.get("name") == "bias"})

    def convolution_op(self, inputs, kernel):
        kernel = keras.ops.cast(self.standardized_kernel(), self.compute_dtype)
        return grouped_convolution(super().convolution_op, inputs, kernel, self)

    def standardized_kernel(self):
        """The kernel that convolves, float32 `(height, width, in / groups, out)`."""
        return _standardize(self.kernel, self.gain, self.eps, self.eps_mode, self.scale)

    # Keras' convolution saves a kernel and a bias, by number, and refuses to load more.

    def save_own_variables(self, store):
        for number, variable in enumerate(self.trained()):
            store[str(number)] = variable

    def load_own_variables(self, store):
        for number, variable in enumerate(self.trained()):
            variable.assign(store[str(number)])

    def trained(self):
        """Kernel, bias and gain, without those the layer does not have."""
        return [v for v in (self.kernel, self.bias, self.gain) if v is not None]

    def get_config(self):
        return {
            **super().get_config(),
            "use_gain": self.use_gain,
            "gain_initializer": keras.initializers.serialize(self.gain_initializer),
            "eps": self.eps,
            "eps_mode": self.eps_mode,
            "scale": self.scale,
        }


def fan_in_normal():
    """Normal with variance 1 / fan-in, a fresh object each time."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")


def _standardize(kernel, gain, eps, eps_mode, scale):
    """`standardize_kernel`, on a CPU by TensorFlow's batch normalization kernel, which does it in half the time."""
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
    # The variance of the fused kernel is the one divided by N - 1; `eps` matters for nearly constant units only.
    return tf.cond(tf.reduce_all(variance * max(fan_in - 1, 1) > eps), lambda: fast,
                   lambda: standardize_kernel(kernel, gain, eps, eps_mode, scale))
