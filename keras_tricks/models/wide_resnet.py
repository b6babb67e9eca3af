"""Wide ResNets for 32-pixel images.

Formula    x <- shortcut + conv3x3(act(BN(conv3x3(act(BN(x)))))); three stages of 16k, 32k and 64k filters
Paper      Zagoruyko & Komodakis 2016, arXiv:1605.07146; 16-4 is the CIFAR-10 network of Smith et al. 2017,
           arXiv:1711.00489
Use when   CIFAR-size images: depth 16 to 40 and width do more than hundreds of thin layers
Do not     feed images much over 64 pixels: nothing before the first stage halves the resolution
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    nothing: no batch norm after the first convolution, the projection sees the activated tensor, He
           initialization over fan-in, as the authors' code
Status     `dont_decay/cifar10_small_*` train a 16-1, docs/results/dont_decay

| name   | depth | width factor | parameters, 10 classes |
|--------|-------|--------------|------------------------|
| 16-1   | 16    | 1            | 175,066                |
| 16-4   | 16    | 4            | 2,748,890              |
| 28-10  | 28    | 10           | 36,479,194             |
"""

import functools

import keras

from keras_tricks.layers import DropPath
from keras_tricks.layers.convolution import convolution
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalization import normalization
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError

STAGES = (16, 32, 64)
BATCH_NORM = dict(momentum=0.9, epsilon=1e-5)


def WideResNet(depth, width_factor, include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
               classes=10, classifier_activation="softmax", name=None, *, dropout_rate=0.0, drop_path_rate=0.0,
               sync_bn=False, ghost_batch_size=None, kernel_initializer=None):
    """Builds a wide ResNet as a functional model.

    Args:
        depth: integer, 6n + 4 with n >= 1: 10, 16, 22, 28, 34, 40, ...
        width_factor: integer > 0, multiplies the filters of the stages (k in the paper).
        include_top: bool, pool and classify. Defaults to `True`.
        weights: `None` (random) or the path of a `.safetensors`, `.weights.h5` or `.keras` file.
        input_tensor: Keras tensor to build on, or `None`.
        input_shape: `(height, width, channels)`. Defaults to `(32, 32, 3)`, to any size without top.
        pooling: without top: `None` (feature map), `"avg"` or `"max"`.
        classes: integer > 0. Defaults to `10`.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model. Defaults to `"wide_resnet<depth>_<width_factor>"`.
        dropout_rate: float in [0, 1), between the two convolutions of each block (paper: 0.3 where used).
        drop_path_rate: float in [0, 1), stochastic depth of the last block; grows linearly from 0 at the first.
        sync_bn: bool, batch statistics over all replicas (TensorFlow). Defaults to `False`.
        ghost_batch_size: integer, batch statistics over groups of so many images (`GhostBatchNormalization`), or
            `None`.
        kernel_initializer: Keras identifier; `None` is He normal over fan-in.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: a depth that is not 6n + 4, `sync_bn` together with `ghost_batch_size`, a wrong `input_shape`.
    """
    count, rest = divmod(depth - 4, 6)
    if rest or count < 1:
        raise UserError(f"`depth` must be 6n + 4 (10, 16, 22, 28, 34, 40, ...). Received: {depth}")
    name = name or f"wide_resnet{depth}_{width_factor}"
    init = kernel_initializer or {
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal"},
    }
    norm = functools.partial(normalization, sync_bn, ghost_batch_size, **BATCH_NORM)
    style = dict(dropout_rate=dropout_rate, init=init, norm=norm)
    inputs = image_input(input_tensor, input_shape, include_top, 32)
    x = _conv(inputs, STAGES[0], 3, 1, "stem", init)
    for stage, filters in enumerate(STAGES, start=1):
        for index in range(1, count + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            drop = drop_path_rate * ((stage - 1) * count + index - 1) / max(len(STAGES) * count - 1, 1)
            x = _block(x, filters * width_factor, strides, drop, f"stage{stage}_block{index}", **style)
    x = _norm_act(x, "head", norm)
    outputs = classifier(x, include_top, pooling, classes, classifier_activation)
    return finish(inputs, outputs, name, weights)


def _block(x, filters, strides, drop_path_rate, name, *, dropout_rate, init, norm):
    """One pre-activation block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, filters)`."""
    branch = _norm_act(x, f"{name}_pre1", norm)
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv(branch, filters, 1, strides, f"{name}_shortcut", init)
    branch = _conv(branch, filters, 3, strides, f"{name}_conv1", init)
    branch = _norm_act(branch, f"{name}_pre2", norm)
    if dropout_rate:
        branch = keras.layers.Dropout(dropout_rate, name=f"{name}_dropout")(branch)
    branch = _conv(branch, filters, 3, 1, f"{name}_conv2", init)
    if drop_path_rate:
        branch = DropPath(drop_path_rate, name=f"{name}_drop_path")(branch)
    return keras.layers.Add(name=f"{name}_out")([shortcut, branch])


def _norm_act(x, name, norm):
    x = norm(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_act")(x)


def _conv(x, filters, size, strides, name, init):
    for layer in convolution(filters, size, strides, init, name=name):
        x = layer(x)
    return x


def _variant(depth, width_factor, paper="1605.07146"):
    size = (32, 32, 3)
    return variant(
        f"WideResNet{depth}_{width_factor}", WideResNet, key=f"wide_resnet{depth}_{width_factor}", depth=depth,
        width_factor=width_factor, paper=paper,
        info=dict(input_size=size, test_input_size=size, crop_pct=1.0, num_classes=10),
    )


WideResNet16_1, WideResNet16_4, WideResNet16_8 = (_variant(16, k) for k in (1, 4, 8))
WideResNet28_2, WideResNet28_10 = (_variant(28, k) for k in (2, 10))
WideResNet40_4 = _variant(40, 4)

TestWideResNet = variant(  # every layer kind of the family, for tests
    "TestWideResNet", WideResNet, key="test_wide_resnet", depth=10, width_factor=1, paper="1605.07146",
    info=dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), num_classes=10),
)
