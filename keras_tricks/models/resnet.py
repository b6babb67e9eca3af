"""ResNet-A, B, C and D, ResNeXt, and both with squeeze-excite.

Formula    x <- act(branch(x) + shortcut(x)); branch: conv-BN-act ... conv-BN; four stages of 64, 128, 256, 512 filters
Paper      He et al. 2015, arXiv:1512.03385; tweaks B, C, D: He et al. 2018, arXiv:1812.01187, section 4; groups: Xie et
           al. 2016, arXiv:1611.05431; squeeze-excite (ratio 1/16): Hu et al. 2017, arXiv:1709.01507
Use when   classifying images; "d" costs 6 % more multiply-adds than "b" for about +0.5 % top-1 (paper, table 5)
Do not     use the ImageNet stem for images under 96 pixels: use `stem="cifar"`
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    from keras.applications: no convolution biases, BN epsilon 1e-5, momentum 0.9, symmetric padding (as in timm
           and gluon-cv, so their checkpoints fit). From the paper's text: He initialization by default, Xavier with
           `kernel_initializer="glorot_uniform"`; the paper's code also uses He
Status     trained by `bag_of_tricks/cifar10_resnet20d` and `quickstart`; logits equal timm's, also those of
           SE-ResNeXt-50 (tests/weights); the ImageNet recipes were not run here

| layout | down-sampling block          | shortcut               | stem                 |
|--------|------------------------------|------------------------|----------------------|
| a      | 1x1/2 - 3x3 - 1x1            | 1x1/2                  | 7x7/2, max-pool      |
| b      | 1x1 - 3x3/2 - 1x1            | 1x1/2                  | 7x7/2, max-pool      |
| c      | as b                         | 1x1/2                  | 3x3/2, 3x3, 3x3, max-pool |
| d      | as b                         | avg-pool 2x2/2, 1x1    | as c                 |

`resnext*_32x4d` have the layout b with 32 groups of 4 channels in the first stage. `seresnet*` and `seresnext*` add a
gate after the last normalization of each branch; names and numbers are those of timm.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.initializers import ZeroGammaInit
from keras_tricks.layers import AvgPoolShortcut, BatchNormalization, DeepStem, DropPath, SqueezeExcite
from keras_tricks.layers.convolution import convolution
from keras_tricks.models.heads import classifier, finish, image_input, symmetric_max_pool
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.types import Activation, Initializer, Path, Shape

# depth: (block, blocks per stage). 20 to 56 are the three-stage networks for 32-pixel images (arXiv:1512.03385, 4.2).
VARIANTS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
    20: ("basic", (3, 3, 3)),
    32: ("basic", (5, 5, 5)),
    44: ("basic", (7, 7, 7)),
    56: ("basic", (9, 9, 9)),
}
EXPANSION = {"basic": 1, "bottleneck": 4}
CIFAR_DEFAULTS = dict(stem="cifar", filters=(16, 32, 64), stem_filters=16)
BATCH_NORM = dict(momentum=0.9, epsilon=1e-5)


def ResNet(block: str, blocks: Sequence[int], layout: str = "d", include_top: bool = True, weights: Path | None = None,
           input_tensor: Any = None, input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
           classifier_activation: Activation | None = "softmax", name: str = "resnet", *, stem: str = "imagenet",
           zero_gamma: bool = False, dropout_rate: float = 0.0, drop_path_rate: float = 0.0,
           drop_path_rule: str = "linear", sync_bn: bool = False, bn_momentum: float = 0.9,
           filters: Sequence[int] = (64, 128, 256, 512), stem_filters: int = 64, stem_pool: str = "max",
           se_ratio: float = 0.0, activation: Activation = "relu", kernel_initializer: Initializer = None,
           head_initializer: Initializer = "glorot_uniform", groups: int = 1,
           width_per_group: int = 64) -> keras.Model:
    """Builds a ResNet as a functional model.

    Args:
        block: `"basic"` (two 3x3) or `"bottleneck"` (1x1, 3x3, 1x1 with four times the channels).
        blocks: integers > 0, number of blocks in each stage.
        layout: `"a"`, `"b"`, `"c"` or `"d"`; see the table above. With basic blocks a = b. Defaults to `"d"`.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(224, 224, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `"resnet"`; a variant has its registry key.
        stem: `"imagenet"` (divides the resolution by 4) or `"cifar"` (one 3x3 convolution, stride 1, no pooling).
            Defaults to `"imagenet"`.
        zero_gamma: bool, whether every residual block starts as the identity (section 3.1). Defaults to `False`.
        dropout_rate: float in [0, 1), dropout before the classifier. Defaults to `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth. Defaults to `0.0`.
        drop_path_rule: `"linear"` grows from 0 in the first block to the rate in the last; `"stage"` is the rate times
            (s + 1) / (S + 1) in stage s of S (ResNet-RS). Defaults to `"linear"`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.
        bn_momentum: float in [0, 1), weight of the old moving statistics. 0 is useful only with an average of all
            weights (`kt.callbacks.WeightEMA`). Defaults to `0.9`.
        filters: width of each stage, one per entry of `blocks`. Defaults to `(64, 128, 256, 512)`.
        stem_filters: output channels of the stem. Defaults to `64`.
        stem_pool: how the ImageNet stem halves the resolution again: `"max"`, a max-pool; `"conv"`, a 3x3 convolution
            of stride 2 with normalization and activation; `"none"`, the first block has stride 2. Defaults to `"max"`.
        se_ratio: float, hidden units of squeeze-excite per channel, after the last normalization of a branch; 0 omits
            it. Defaults to `0.0`.
        activation: Keras activation. Defaults to `"relu"`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: He normal over fan-out.
        head_initializer: Keras initializer identifier of the classifier's kernel. Defaults to `"glorot_uniform"`.
        groups: integer > 0, groups of the 3x3 convolution of a bottleneck (ResNeXt: 32). Defaults to `1`.
        width_per_group: integer > 0, channels of each group in a stage of 64 filters, in proportion to `filters` in the
            others (ResNeXt: 4). Defaults to `64`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `block`, `stem`, `layout`, `stem_pool`, `drop_path_rule` or `pooling`, a wrong shape, or
            groups of a basic block.
    """
    check_choice("block", block, tuple(EXPANSION))
    check_choice("layout", layout, ("a", "b", "c", "d"))
    check_choice("stem", stem, ("imagenet", "cifar"))
    check_choice("stem_pool", stem_pool, ("max", "conv", "none"))
    check_choice("drop_path_rule", drop_path_rule, ("linear", "stage"))
    _check_groups(block, groups, width_per_group, filters)
    inputs = image_input(input_tensor, input_shape, include_top, 224 if stem == "imagenet" else 32)
    if stem == "imagenet" and inputs.shape[1] is not None and inputs.shape[1] < 96:
        warnings.warn(f"{name}: the ImageNet stem divides {inputs.shape[1]} pixels by 4 before the first block; "
                      'stem="cifar" is made for small images.', stacklevel=3)
    norm = dict(BATCH_NORM, momentum=bn_momentum, synchronized=sync_bn)
    style = dict(block=block, layout=layout, zero_gamma=zero_gamma, se_ratio=se_ratio, activation=activation,
                 init=kernel_initializer, norm=norm, groups=groups)
    x = _stem(inputs, stem, stem_pool, layout, stem_filters, activation, kernel_initializer, norm)
    total, built = sum(blocks), 0
    for stage, (count, width) in enumerate(zip(blocks, filters, strict=True), start=1):
        for index in range(1, count + 1):
            halves = stage > 1 or (stem == "imagenet" and stem_pool == "none")
            strides = 2 if halves and index == 1 else 1
            share = built / max(total - 1, 1) if drop_path_rule == "linear" else (stage + 1) / (len(blocks) + 1)
            drop = drop_path_rate * share
            inner = width * width_per_group // 64 * groups
            x = _block(x, inner, width * EXPANSION[block], strides, drop, f"stage{stage}_block{index}", **style)
            built += 1
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate,
                         kernel_initializer=head_initializer)
    return finish(inputs, outputs, name, weights)


def _stem(x, stem, pool, layout, filters, activation, init, norm):
    if stem == "imagenet" and layout in "cd":
        x = DeepStem((filters // 2, filters // 2, filters), activation, init, **norm, name="stem")(x)
    else:
        size, strides = (7, 2) if stem == "imagenet" else (3, 1)
        x = _conv_bn(x, filters, size, strides, "stem", init, norm)
        x = _act(x, activation, "stem_act")
    if stem == "imagenet" and pool == "conv":
        x = _conv_bn(x, filters, 3, 2, "stem_pool", init, norm)
        x = _act(x, activation, "stem_pool_act")
    if stem == "imagenet" and pool == "max":
        x = symmetric_max_pool(x, "stem_pool", never_negative=activation == "relu")
    return x


def _check_groups(block, groups, width_per_group, filters):
    if block == "basic" and (groups, width_per_group) != (1, 64):
        raise UserError('`groups` and `width_per_group` need block="bottleneck". '
                        f"Received: groups={groups}, width_per_group={width_per_group}")
    for name, value in (("groups", groups), ("width_per_group", width_per_group)):
        if int(value) != value or value < 1:
            raise UserError(f"`{name}` must be an integer >= 1. Received: {value}")
    if min(filters) * width_per_group < 64:
        raise UserError(f"`width_per_group` {width_per_group} leaves a stage of {min(filters)} filters without "
                        "channels: use more.")


def _block(x, width, out_channels, strides, drop_path_rate, name, *, block, layout, zero_gamma, se_ratio, activation,
           init, norm, groups):
    """One residual block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, out_channels)`."""
    if block == "basic":
        convs = [(width, 3, strides), (width, 3, 1)]
    elif layout == "a":
        convs = [(width, 1, strides), (width, 3, 1), (out_channels, 1, 1)]
    else:
        convs = [(width, 1, 1), (width, 3, strides), (out_channels, 1, 1)]

    shortcut, branch = x, x
    if strides != 1 or x.shape[-1] != out_channels:
        shortcut = _shortcut(x, out_channels, strides, f"{name}_shortcut", layout, init, norm)
    for i, (filters, size, stride) in enumerate(convs, start=1):
        last = i == len(convs)
        gamma = ZeroGammaInit() if last and zero_gamma else "ones"
        divided = groups if block == "bottleneck" and size == 3 else 1
        branch = _conv_bn(branch, filters, size, stride, f"{name}_conv{i}", init, norm, gamma, divided)
        if not last:
            branch = _act(branch, activation, f"{name}_act{i}")
    if se_ratio:
        branch = SqueezeExcite(se_ratio, name=f"{name}_se")(branch)
    if drop_path_rate:
        branch = DropPath(drop_path_rate, name=f"{name}_drop_path")(branch)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, branch])
    return _act(x, activation, f"{name}_out")


def _act(x, activation, name):
    layer = keras.layers.ReLU(name=name) if activation == "relu" else keras.layers.Activation(activation, name=name)
    return layer(x)


def _shortcut(x, filters, strides, name, layout, init, norm):
    if layout == "d":
        return AvgPoolShortcut(filters, strides, kernel_initializer=init, **norm, name=name)(x)
    return _conv_bn(x, filters, 1, strides, name, init, norm)


def _conv_bn(x, filters, size, strides, name, init, norm, gamma_initializer="ones", groups=1):
    for layer in convolution(filters, size, strides, init, groups=groups, name=name):
        x = layer(x)
    return BatchNormalization(**norm, gamma_initializer=gamma_initializer, name=f"{name}_bn")(x)


PAPER_TOP1 = {"50": 76.21, "50b": 76.66, "50c": 76.87, "50d": 77.16}  # arXiv:1812.01187, table 5


PAPERS = {"a": "1512.03385", "b": "1812.01187", "c": "1812.01187", "d": "1812.01187"}


def _name(depth: int, layout: str) -> str:
    return f"ResNet{depth}{'' if layout == 'a' else layout.upper()}"


def _registration(depth: int, layout: str) -> dict[str, Any]:
    key = _name(depth, layout).lower()
    return dict(key=key, paper=PAPERS[layout], info=dict(paper_top1=PAPER_TOP1.get(key.removeprefix("resnet"))))


def _cifar_registration(depth: int, layout: str) -> dict[str, Any]:
    """The three-stage networks of 16, 32 and 64 filters for 32-pixel images and ten classes."""
    size = (32, 32, 3)
    info = dict(input_size=size, test_input_size=size, crop_pct=1.0, num_classes=10)
    return dict(key=_name(depth, layout).lower(), paper=PAPERS[layout], info=info, **CIFAR_DEFAULTS)


(ResNet18, ResNet18B, ResNet18C, ResNet18D,
 ResNet34, ResNet34B, ResNet34C, ResNet34D,
 ResNet50, ResNet50B, ResNet50C, ResNet50D,
 ResNet101, ResNet101B, ResNet101C, ResNet101D,
 ResNet152, ResNet152B, ResNet152C, ResNet152D,
 ResNet200, ResNet200B, ResNet200C, ResNet200D) = (
    variant(_name(depth, layout), ResNet, VARIANTS[depth][0], VARIANTS[depth][1], layout,
            **_registration(depth, layout))
    for depth in (18, 34, 50, 101, 152, 200) for layout in "abcd")
ResNet20, ResNet20D, ResNet32, ResNet32D, ResNet44, ResNet44D, ResNet56, ResNet56D = (
    variant(_name(depth, layout), ResNet, VARIANTS[depth][0], VARIANTS[depth][1], layout,
            **_cifar_registration(depth, layout))
    for depth in (20, 32, 44, 56) for layout in "ad")

# Squeeze-excite and ResNeXt: builder arguments by prefix of the name. The papers' own recipes: gluon-cv, timm.
NEXT = dict(groups=32, width_per_group=4)
SE = dict(se_ratio=1 / 16)


def _variant_of(name: str, depth: int, layout: str, **options: Any) -> Any:
    return variant(name, ResNet, *VARIANTS[depth], layout, key=name.lower(),
                   paper="1611.05431" if "NeXt" in name else "1709.01507", **options)


ResNeXt50_32x4d = _variant_of("ResNeXt50_32x4d", 50, "b", **NEXT)
ResNeXt101_32x4d = _variant_of("ResNeXt101_32x4d", 101, "b", **NEXT)
SEResNeXt50_32x4d = _variant_of("SEResNeXt50_32x4d", 50, "b", **NEXT, **SE)
SEResNeXt101_32x4d = _variant_of("SEResNeXt101_32x4d", 101, "b", **NEXT, **SE)
SEResNet50 = _variant_of("SEResNet50", 50, "b", **SE)
SEResNet50D = _variant_of("SEResNet50D", 50, "d", **SE)
SEResNet101D = _variant_of("SEResNet101D", 101, "d", **SE)
SEResNet152D = _variant_of("SEResNet152D", 152, "d", **SE)

TestResNet = variant(  # for tests: every kind of layer of the family in 13 thousand parameters
    "TestResNet", ResNet, "bottleneck", (1, 2), "d", key="test_resnet", filters=(8, 16),
    stem_filters=8, paper="1812.01187",
    info=dict(input_size=(96, 96, 3), test_input_size=(96, 96, 3), num_classes=10),
)
