"""Wide ResNets for 32-pixel images.

Formula    x <- shortcut + conv3x3(act(BN(conv3x3(act(BN(x)))))); three stages of 16k, 32k and 64k filters
Paper      Zagoruyko & Komodakis 2016, arXiv:1605.07146; 16-4 is the CIFAR-10 network of Smith et al. 2017,
           arXiv:1711.00489
Use when   images have CIFAR size: depth 16 to 40 with width is better than hundreds of thin layers
Do not     use images much over 64 pixels: nothing before the first stage halves the resolution
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    nothing: no batch normalization after the first convolution, a projection of the activated tensor, and He
           initialization over fan-out, as in the authors' Lua code (their PyTorch code: over fan-in)
Status     `dont_decay/cifar10_small_*` train a 16-1, docs/results/dont_decay (those runs started from He
           initialization over fan-in)

| name   | depth | width factor | parameters, 10 classes |
|--------|-------|--------------|------------------------|
| 16-1   | 16    | 1            | 175,066                |
| 16-4   | 16    | 4            | 2,748,890              |
| 28-10  | 28    | 10           | 36,479,194             |
"""

import functools
from typing import Any

import keras

from keras_tricks.layers import DropPath, SkipGain
from keras_tricks.layers.convolution import convolution
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalization import normalization
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.types import Activation, Initializer, Path, Shape

STAGES = (16, 32, 64)
BATCH_NORM = dict(momentum=0.9, epsilon=1e-5)


def WideResNet(depth: int, width_factor: int, include_top: bool = True, weights: Path | None = None,
               input_tensor: Any = None, input_shape: Shape | None = None, pooling: str | None = None,
               classes: int = 10, classifier_activation: Activation | None = "softmax", name: str | None = None, *,
               dropout_rate: float = 0.0, drop_path_rate: float = 0.0, sync_bn: bool = False,
               ghost_batch_size: int | None = None, kernel_initializer: Initializer = None,
               norm: str = "batch") -> keras.Model:
    """Builds a wide ResNet as a functional model.

    Args:
        depth: integer, 6n + 4 with n >= 1: 10, 16, 22, 28, 34, 40, ...
        width_factor: integer > 0, multiplies the filters of the stages (k in the paper).
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(32, 32, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `10`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `None`: `"wide_resnet<depth>_<width_factor>"`.
        dropout_rate: float in [0, 1), dropout between the two convolutions of each block (paper: 0.3 where used).
            Defaults to `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth in the last block; it grows linearly from 0 in the
            first. Defaults to `0.0`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.
        ghost_batch_size: integer, images per group of batch statistics (`GhostBatchNormalization`), or `None`. Defaults
            to `None`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: He normal over fan-out, as the authors'
            Lua code.
        norm: `"batch"`; `"skipinit"`, biases and one trained number per branch, 0 at the start, instead of batch
            normalization (De & Smith 2020, arXiv:2002.10444); `"none"`, biases alone. Defaults to `"batch"`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: a depth that is not 6n + 4, both `sync_bn` and `ghost_batch_size`, or a wrong `input_shape`.
    """
    count, rest = divmod(depth - 4, 6)
    if rest or count < 1:
        raise UserError(f"`depth` must be 6n + 4 (10, 16, 22, 28, 34, 40, ...). Received: {depth}")
    name = name or f"wide_resnet{depth}_{width_factor}"
    init = kernel_initializer or {
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    }
    check_choice("norm", norm, ("batch", "skipinit", "none"))
    if norm != "batch" and (sync_bn or ghost_batch_size):
        raise UserError(f'`sync_bn` and `ghost_batch_size` need norm="batch". Received: norm={norm!r}')
    make_norm = functools.partial(normalization, sync_bn, ghost_batch_size, **BATCH_NORM) if norm == "batch" else None
    style = dict(dropout_rate=dropout_rate, init=init, norm=make_norm, skip_gain=norm == "skipinit")
    inputs = image_input(input_tensor, input_shape, include_top, 32)
    x = _conv(inputs, STAGES[0], 3, 1, "stem", init)
    for stage, filters in enumerate(STAGES, start=1):
        for index in range(1, count + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            drop = drop_path_rate * ((stage - 1) * count + index - 1) / max(len(STAGES) * count - 1, 1)
            x = _block(x, filters * width_factor, strides, drop, f"stage{stage}_block{index}", **style)
    x = _norm_act(x, "head", make_norm)
    outputs = classifier(x, include_top, pooling, classes, classifier_activation)
    return finish(inputs, outputs, name, weights)


def _block(x, filters, strides, drop_path_rate, name, *, dropout_rate, init, norm, skip_gain):
    """One pre-activation block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, filters)`."""
    branch = _norm_act(x, f"{name}_pre1", norm)
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv(branch, filters, 1, strides, f"{name}_shortcut", init, norm is None)
    branch = _conv(branch, filters, 3, strides, f"{name}_conv1", init, norm is None)
    branch = _norm_act(branch, f"{name}_pre2", norm)
    if dropout_rate:
        branch = keras.layers.Dropout(dropout_rate, name=f"{name}_dropout")(branch)
    branch = _conv(branch, filters, 3, 1, f"{name}_conv2", init, norm is None)
    if skip_gain:
        branch = SkipGain(0.0, name=f"{name}_skip_gain")(branch)
    if drop_path_rate:
        branch = DropPath(drop_path_rate, name=f"{name}_drop_path")(branch)
    return keras.layers.Add(name=f"{name}_out")([shortcut, branch])


def _norm_act(x, name, norm):
    x = norm(name=f"{name}_bn")(x) if norm else x
    return keras.layers.ReLU(name=f"{name}_act")(x)


def _conv(x, filters, size, strides, name, init, use_bias=False):
    for layer in convolution(filters, size, strides, init, use_bias=use_bias, name=name):
        x = layer(x)
    return x


INFO = dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), crop_pct=1.0, num_classes=10)
WideResNet16_1, WideResNet16_4, WideResNet16_8, WideResNet28_2, WideResNet28_10, WideResNet40_4 = (
    variant(f"WideResNet{depth}_{width}", WideResNet, depth, width, key=f"wide_resnet{depth}_{width}",
            paper="1605.07146", info=INFO)
    for depth, width in ((16, 1), (16, 4), (16, 8), (28, 2), (28, 10), (40, 4)))
WideResNetAnyDepth = variant(  # for studies of depth: `depth` and `width_factor` are arguments
    "WideResNetAnyDepth", WideResNet, 16, 2, key="wide_resnet", paper="1605.07146", info=INFO,
    adjustable=("depth", "width_factor"))

TestWideResNet = variant(  # for tests: every kind of layer of the family
    "TestWideResNet", WideResNet, 10, 1, key="test_wide_resnet", paper="1605.07146",
    info=dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), num_classes=10),
)
