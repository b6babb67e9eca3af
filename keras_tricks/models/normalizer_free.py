"""Shared by the normalizer-free families: the layouts of public code, the computation of beta, the residual block."""

import dataclasses
import itertools

import keras

from keras_tricks.layers import DropPath, ScaledActivation, ScaledWSConv2D, SkipGain, SqueezeExcite
from keras_tricks.layers.convolution import kernel_init
from keras_tricks.layers.scaled_activation import activation_gain
from keras_tricks.models.heads import symmetric_max_pool
from keras_tricks.models.normalization import normalization
from keras_tricks.utils.errors import UserError, check_choice

ALPHA = 0.2  # factor of a residual branch in the sum (arXiv:2101.08692, section 4.1; nfnet.py)
CLASSIFIER_INIT = dict(kernel_initializer={"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.01}})


@dataclasses.dataclass(frozen=True)
class Layout:
    """How public implementations differ, in their numbers or in the weights of a checkpoint."""

    skip_gain: bool  # a trained scalar starts the branch at zero; else the gain of its last convolution does
    gain_in_kernel: bool  # the activation's constant is part of the next convolution's kernel
    padding: str  # of strided convolutions: "same" (TensorFlow, JAX) or "symmetric" (PyTorch)
    eps: float
    eps_mode: str
    gelu: str
    rescale_drop_path: bool
    full_drop_path: bool  # the last block has the full rate


LAYOUTS = {
    "dm": Layout(True, False, "same", 1e-4, "max", "gelu_tanh", False, False),
    "timm_dm": Layout(True, False, "same", 1e-5, "add", "gelu", True, True),  # timm's dm_nfnet_f*
    "timm": Layout(False, True, "symmetric", 1e-5, "add", "gelu", True, True),  # timm's nfnet_f*, nf_resnet*
}


def betas(blocks, alpha=ALPHA):
    """The factor before every block: 1 / (expected standard deviation of its input).

    Adding `alpha * branch` to the shortcut adds alpha^2 to the variance. The first block of a stage divides by the
    standard deviation at the end of the previous stage and resets the variance to 1, because its shortcut is a
    convolution.

    Args:
        blocks: integers > 0, number of blocks in each stage.
        alpha: float, factor of the residual branch. Defaults to `0.2`.

    Returns:
        One tuple of floats per stage.
    """
    variance, stages = 1.0, []
    for count in blocks:
        stage = []
        for index in range(count):
            stage.append(variance**-0.5)
            variance = (1.0 if index == 0 else variance) + alpha**2
        stages.append(tuple(stage))
    return tuple(stages)


def drop_path_rates(blocks, rate, full):
    """The drop-path rate of every block, one tuple per stage, growing linearly from 0.

    With `full` the last block has the rate `rate` (timm); without it, `rate * (n - 1) / n` (DeepMind).
    """
    total = sum(blocks)
    rates = [rate * i / max(total - 1 if full else total, 1) for i in range(total)]
    ends = list(itertools.accumulate(blocks))
    return tuple(tuple(rates[end - count : end]) for end, count in zip(ends, blocks, strict=True))


@dataclasses.dataclass(frozen=True)
class Style:
    """Builds the layers of one network."""

    layout: Layout
    activation: str
    alpha: float
    se_ratio: float
    skip_gain_init: float
    pooled_shortcut: bool  # average-pool a strided shortcut instead of striding its convolution
    scaled_ws: bool = True  # standardize the kernels; `False`, for ablations, gives plain convolutions
    batch_norm: dict | None = None  # arguments of batch normalization before every activation; it replaces all the rest

    def act(self, x, name, beta=1.0):
        """gain * beta * activation(x), without the gain in layouts whose next convolution holds it."""
        activation = self.layout.gelu if self.activation == "gelu" else self.activation
        if self.batch_norm is not None:
            x = normalization(**self.batch_norm, name=f"{name}_bn")(x)
            return ScaledActivation(activation, "none", name=name)(x)
        gain = "none" if self.layout.gain_in_kernel else "deepmind"
        return ScaledActivation(activation, gain, beta, name=name)(x)

    def conv(self, x, filters, size, strides=1, *, groups=1, gain="ones", name):
        """Scaled weight-standardized convolution with bias; with batch normalization, a plain one without."""
        if self.batch_norm is not None:
            return keras.layers.Conv2D(filters, size, strides, "same", groups=groups, use_bias=False,
                                       kernel_initializer=kernel_init(), name=name)(x)
        if not self.scaled_ws:
            init = keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
            return keras.layers.Conv2D(filters, size, strides, "same", groups=groups, kernel_initializer=init,
                                       name=name)(x)
        symmetric = self.layout.padding == "symmetric" and strides > 1 and size > 1
        if symmetric:
            x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        return ScaledWSConv2D(
            filters, size, strides, "valid" if symmetric else "same", groups, gain_initializer=gain,
            eps=self.layout.eps, eps_mode=self.layout.eps_mode, name=name,
            scale=activation_gain(self.activation) if self.layout.gain_in_kernel else 1.0,
        )(x)

    def max_pool(self, x, name):
        """Max pooling over 3x3 windows with stride 2 of values that may be negative."""
        if self.layout.padding == "same":
            return keras.layers.MaxPooling2D(3, 2, "same", name=name)(x)
        return symmetric_max_pool(x, name)

    def block(self, x, filters, mid, sizes, strides, groups, beta, drop_path_rate, name):
        """One residual block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, filters)`.

        `sizes` are the kernel sizes of the branch, from first to last; the second convolution has the stride.
        """
        out = self.act(x, f"{name}_act1", beta)
        shortcut = x
        if strides > 1 or x.shape[-1] != filters:
            shortcut = self._shortcut(out, filters, strides, f"{name}_shortcut")
        for i, size in enumerate(sizes[:-1], start=1):
            spatial = size > 1
            out = self.conv(out, mid, size, strides if i == 2 else 1, groups=groups if spatial else 1,
                            name=f"{name}_conv{i}")
            out = self.act(out, f"{name}_act{i + 1}")
        last_gain = "ones" if self.layout.skip_gain else keras.initializers.Constant(self.skip_gain_init)
        out = self.conv(out, filters, sizes[-1], gain=last_gain, name=f"{name}_conv{len(sizes)}")
        if self.se_ratio:
            out = SqueezeExcite(self.se_ratio, scale=1.0 if self.batch_norm else 2.0, name=f"{name}_se")(out)
        if drop_path_rate:
            out = DropPath(drop_path_rate, rescale=self.layout.rescale_drop_path, name=f"{name}_drop_path")(out)
        if self.batch_norm is not None:
            return keras.layers.Add(name=f"{name}_out")([out, shortcut])
        if self.layout.skip_gain:
            out = SkipGain(self.skip_gain_init, self.alpha, name=f"{name}_skip_gain")(out)
        else:
            out = keras.layers.Rescaling(self.alpha, name=f"{name}_alpha")(out)
        return keras.layers.Add(name=f"{name}_out")([out, shortcut])

    def _shortcut(self, x, filters, strides, name):
        if strides > 1 and self.pooled_shortcut:
            x, strides = keras.layers.AveragePooling2D(strides, strides, "same", name=f"{name}_pool")(x), 1
        return self.conv(x, filters, 1, strides, name=name)


def layout_for(weights):
    """The layout of a network with `weights` and without a given layout: that of timm's checkpoint, else `"dm"`."""
    if weights is None:
        return "dm"
    from keras_tricks.weights.timm import layout_of

    return layout_of(weights) or "dm"


def style(layout, activation, alpha, se_ratio, skip_gain_init, pooled_shortcut, scaled_ws=True,
          layouts=tuple(LAYOUTS), norm="none", bn_momentum=0.9, sync_bn=False):
    """A `Style` from the arguments of a builder.

    Raises:
        UserError: an unknown layout, norm or activation, or plain convolutions in a layout whose kernels contain gains.
    """
    check_choice("layout", layout, layouts)
    check_choice("norm", norm, ("none", "batch"))
    activation_gain(activation)
    if norm == "batch":
        if layout != "dm":
            raise UserError(f'`norm="batch"` needs layout="dm". Received: {layout!r}')
        batch_norm = dict(sync_bn=sync_bn, momentum=bn_momentum, epsilon=1e-5)
        return Style(LAYOUTS[layout], activation, alpha, se_ratio, skip_gain_init, pooled_shortcut,
                     batch_norm=batch_norm)
    if not scaled_ws and layout != "dm":
        raise UserError('`scaled_ws=False` needs layout="dm": other layouts keep gains in the kernels. Received: '
                        f"{layout!r}")
    return Style(LAYOUTS[layout], activation, alpha, se_ratio, skip_gain_init, pooled_shortcut, scaled_ws)


def grouped_width(filters, ratio, group_width, rounding):
    """(channels inside a block, number of groups).

    Raises:
        UserError: the width is not a multiple of `group_width`, and `rounding` is `None`.
    """
    width = int(filters * ratio)
    if width % group_width == 0:
        return width, width // group_width
    if rounding != "floor" or width < group_width:
        raise UserError(
            f"A block of {filters} filters has {width} inside, not a multiple of `group_width`={group_width}. Change "
            f"`widths`, or pass rounding=\"floor\" as the reference code does "
            f"({max(width // group_width, 1) * group_width} channels).")
    return width // group_width * group_width, width // group_width
