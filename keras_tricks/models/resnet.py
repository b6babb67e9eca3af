"""ResNet-A, B, C and D.

Formula    x <- act(branch(x) + shortcut(x)); branch: conv-BN-act ... conv-BN; four stages of 64, 128, 256, 512 filters
Paper      He et al. 2015, arXiv:1512.03385; tweaks B, C, D: He et al. 2018, arXiv:1812.01187, section 4
Use when   images; "d" costs 6 % more multiply-adds than "b" for about +0.5 % ImageNet top-1 (paper, table 5)
Do not     feed images under 96 pixels to the ImageNet stem: `stem="cifar"`
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    from keras.applications: no convolution biases, BN epsilon 1e-5, momentum 0.9, symmetric padding (as timm
           and gluon-cv, so their checkpoints fit). From the paper's text: He initialization by default, Xavier with
           `kernel_initializer="glorot_uniform"`; the code of the paper uses He too
Status     trained by `bag_of_tricks/cifar10_resnet20d` and `quickstart`; the ImageNet recipes were not run here

| layout | down-sampling block          | shortcut               | stem                 |
|--------|------------------------------|------------------------|----------------------|
| a      | 1x1/2 - 3x3 - 1x1            | 1x1/2                  | 7x7/2, max-pool      |
| b      | 1x1 - 3x3/2 - 1x1            | 1x1/2                  | 7x7/2, max-pool      |
| c      | as b                         | 1x1/2                  | 3x3/2, 3x3, 3x3, max-pool |
| d      | as b                         | avg-pool 2x2/2, 1x1    | as c                 |
"""

import warnings

import keras

from keras_tricks.initializers import ZeroGammaInit
from keras_tricks.layers import AvgPoolShortcut, BatchNormalization, DeepStem, DropPath, SqueezeExcite
from keras_tricks.layers.convolution import convolution
from keras_tricks.models.heads import classifier, finish, image_input, symmetric_max_pool
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import check_choice

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


def ResNet(block, blocks, layout="d", include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
           classes=1000, classifier_activation="softmax", name="resnet", *, stem="imagenet", zero_gamma=False,
           dropout_rate=0.0, drop_path_rate=0.0, drop_path_rule="linear", sync_bn=False, bn_momentum=0.9,
           filters=(64, 128, 256, 512), stem_filters=64, stem_pool="max", se_ratio=0.0, activation="relu",
           kernel_initializer=None, head_initializer="glorot_uniform"):
    """Builds a ResNet as a functional model.

    Args:
        block: `"basic"` (two 3x3) or `"bottleneck"` (1x1, 3x3, 1x1 with four times the channels).
        blocks: integers > 0, blocks of each stage.
        layout: `"a"`, `"b"`, `"c"` or `"d"`, see the table above. With basic blocks a = b.
        include_top: bool, pool and classify. Defaults to `True`.
        weights: `None` (random) or the path of a `.safetensors`, `.weights.h5` or `.keras` file.
        input_tensor: Keras tensor to build on, or `None`.
        input_shape: `(height, width, channels)`. Defaults to `(224, 224, 3)`, to any size without top.
        pooling: without top: `None` (feature map), `"avg"` or `"max"`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model.
        stem: `"imagenet"` (divides the resolution by 4) or `"cifar"` (one 3x3 convolution, stride 1, no pooling).
        zero_gamma: bool, start every residual block as the identity (section 3.1). Defaults to `False`.
        dropout_rate: float in [0, 1), before the classifier. Defaults to `0.0`.
        drop_path_rate: float in [0, 1), stochastic depth.
        drop_path_rule: `"linear"`, growing from 0 at the first block to the rate at the last; `"stage"`, the rate times
            (s + 1) / (S + 1) in stage s of S (ResNet-RS). Defaults to `"linear"`.
        sync_bn: bool, batch statistics over all replicas (TensorFlow). Defaults to `False`.
        bn_momentum: float in [0, 1), share of the old moving statistic kept. 0 makes sense under an average of all
            weights only (`kt.callbacks.WeightEMA`). Defaults to `0.9`.
        filters: width of each stage, one per entry of `blocks`.
        stem_filters: output channels of the stem.
        stem_pool: how the ImageNet stem halves the resolution again: `"max"`; `"conv"`, a 3x3 convolution of stride 2
            with norm and activation; `"none"`, not: the first block has stride 2. Defaults to `"max"`.
        se_ratio: float, hidden units of squeeze-excite per channel, after the last norm of a branch; 0 for none.
        activation: Keras activation. Defaults to `"relu"`.
        kernel_initializer: Keras identifier; `None` is He normal over fan-out.
        head_initializer: Keras identifier, of the classifier's kernel.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `block`, `stem`, `layout`, `stem_pool`, `drop_path_rule`, `pooling`; a wrong shape.
    """
    check_choice("block", block, tuple(EXPANSION))
    check_choice("layout", layout, ("a", "b", "c", "d"))
    check_choice("stem", stem, ("imagenet", "cifar"))
    check_choice("stem_pool", stem_pool, ("max", "conv", "none"))
    check_choice("drop_path_rule", drop_path_rule, ("linear", "stage"))
    inputs = image_input(input_tensor, input_shape, include_top, 224 if stem == "imagenet" else 32)
    if stem == "imagenet" and inputs.shape[1] is not None and inputs.shape[1] < 96:
        warnings.warn(f"{name}: the ImageNet stem divides {inputs.shape[1]} pixels by 4 before the first block; "
                      'stem="cifar" is made for small images.', stacklevel=3)
    norm = dict(BATCH_NORM, momentum=bn_momentum, synchronized=sync_bn)
    style = dict(block=block, layout=layout, zero_gamma=zero_gamma, se_ratio=se_ratio, activation=activation,
                 init=kernel_initializer, norm=norm)
    x = _stem(inputs, stem, stem_pool, layout, stem_filters, activation, kernel_initializer, norm)
    total, built = sum(blocks), 0
    for stage, (count, width) in enumerate(zip(blocks, filters, strict=True), start=1):
        for index in range(1, count + 1):
            halves = stage > 1 or (stem == "imagenet" and stem_pool == "none")
            strides = 2 if halves and index == 1 else 1
            share = built / max(total - 1, 1) if drop_path_rule == "linear" else (stage + 1) / (len(blocks) + 1)
            drop = drop_path_rate * share
            x = _block(x, width, strides, drop, f"stage{stage}_block{index}", **style)
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


def _block(x, width, strides, drop_path_rate, name, *, block, layout, zero_gamma, se_ratio, activation, init, norm):
    """One residual block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, width * expansion)`."""
    out_channels = width * EXPANSION[block]
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
        branch = _conv_bn(branch, filters, size, stride, f"{name}_conv{i}", init, norm, gamma)
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


def _conv_bn(x, filters, size, strides, name, init, norm, gamma_initializer="ones"):
    for layer in convolution(filters, size, strides, init, name=name):
        x = layer(x)
    return BatchNormalization(**norm, gamma_initializer=gamma_initializer, name=f"{name}_bn")(x)


PAPER_TOP1 = {"50": 76.21, "50b": 76.66, "50c": 76.87, "50d": 77.16}  # arXiv:1812.01187, table 5


def _variant(depth, layout="a"):
    block, blocks = VARIANTS[depth]
    suffix = "" if layout == "a" else layout
    return variant(
        f"ResNet{depth}{suffix.upper()}", ResNet, block=block, blocks=blocks, layout=layout,
        paper="1512.03385" if layout == "a" else "1812.01187",
        info=dict(paper_top1=PAPER_TOP1.get(f"{depth}{suffix}")),
    )


def _cifar_variant(depth, layout="a"):
    """The three-stage networks of 16, 32 and 64 filters for 32-pixel images and ten classes."""
    block, blocks = VARIANTS[depth]
    suffix = "" if layout == "a" else layout
    size = (32, 32, 3)
    return variant(
        f"ResNet{depth}{suffix.upper()}", ResNet, block=block, blocks=blocks, layout=layout, **CIFAR_DEFAULTS,
        paper="1512.03385" if layout == "a" else "1812.01187",
        info=dict(input_size=size, test_input_size=size, crop_pct=1.0, num_classes=10),
    )


ResNet18, ResNet18B, ResNet18C, ResNet18D = (_variant(18, layout) for layout in "abcd")
ResNet34, ResNet34B, ResNet34C, ResNet34D = (_variant(34, layout) for layout in "abcd")
ResNet50, ResNet50B, ResNet50C, ResNet50D = (_variant(50, layout) for layout in "abcd")
ResNet101, ResNet101B, ResNet101C, ResNet101D = (_variant(101, layout) for layout in "abcd")
ResNet152, ResNet152B, ResNet152C, ResNet152D = (_variant(152, layout) for layout in "abcd")
ResNet200, ResNet200B, ResNet200C, ResNet200D = (_variant(200, layout) for layout in "abcd")
ResNet20, ResNet20D = (_cifar_variant(20, layout) for layout in "ad")
ResNet32, ResNet32D = (_cifar_variant(32, layout) for layout in "ad")
ResNet44, ResNet44D = (_cifar_variant(44, layout) for layout in "ad")
ResNet56, ResNet56D = (_cifar_variant(56, layout) for layout in "ad")

TestResNet = variant(  # every layer kind of the family in 13 thousand parameters, for tests
    "TestResNet", ResNet, key="test_resnet", block="bottleneck", blocks=(1, 2), layout="d", filters=(8, 16),
    stem_filters=8, paper="1812.01187",
    info=dict(input_size=(96, 96, 3), test_input_size=(96, 96, 3), num_classes=10),
)
