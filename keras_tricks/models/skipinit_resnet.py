"""SkipInit ResNets: plain pre-activation ResNets that multiply each branch by one trained number.

Formula    x <- shortcut + gain * conv1x1(act(conv3x3(act(conv1x1(act(x)))))), gain 0 at the start
Paper      De & Smith 2020, arXiv:2002.10444, section 4; reference: deepmind-research/nfnets/skipinit_resnet.py
Use when   studying what one scalar per block can replace; in practice use `nf_resnet*`
Do not     expect the accuracy of batch normalization without dropout or mixup, or success with large batches
Cost       as a ResNet of its depth without batch normalization
Differs    nothing
Status     ImageNet not reproduced here

| name | blocks per stage | parameters |
|------|------------------|------------|
| 50   | 3, 4, 6, 3       | 25,530,424 |
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers import DropPath, GroupedConv2D, SkipGain
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalizer_free import drop_path_rates
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import check_choice
from keras_tricks.utils.types import Activation, Path, Shape

WIDTHS = (256, 512, 1024, 2048)


def SkipInitResNet(blocks: Sequence[int], include_top: bool = True, weights: Path | None = None,
                   input_tensor: Any = None, input_shape: Shape | None = None, pooling: str | None = None,
                   classes: int = 1000, classifier_activation: Activation | None = "softmax",
                   name: str | None = "skipinit_resnet", *, stem: str = "imagenet", stem_filters: int = 64,
                   widths: Sequence[int] = WIDTHS, activation: Activation = "relu", skip_gain_init: float = 0.0,
                   dropout_rate: float = 0.0, drop_path_rate: float = 0.0) -> keras.Model:
    """Builds a SkipInit ResNet as a functional model.

    Args:
        blocks: integers > 0, number of blocks in each stage.
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name: as
            `kt.models.NFResNet`.
        stem: `"imagenet"` (7x7 of stride 2 and max-pool) or `"cifar"` (one 3x3 convolution). Defaults to `"imagenet"`.
        stem_filters: output channels of the stem. Defaults to `64`.
        widths: output channels of each stage, four times the channels inside its blocks. Defaults to `(256, 512, 1024,
            2048)`.
        activation: Keras activation. Defaults to `"relu"`.
        skip_gain_init: float, initial value of the trained factor: 0, or up to `sum(blocks) ** -0.5`. Defaults to
            `0.0`.
        dropout_rate: float in [0, 1), dropout before the classifier. Defaults to `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth, growing linearly from 0. Kept branches are not
            rescaled. Defaults to `0.0`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `stem` or `pooling`, or a wrong `input_shape`.
    """
    check_choice("stem", stem, ("imagenet", "cifar"))
    inputs = image_input(input_tensor, input_shape, include_top, 224 if stem == "imagenet" else 32)
    if stem == "imagenet":
        x = _conv(inputs, stem_filters, 7, 2, "stem", use_bias=False)
        x = keras.layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)
    else:
        x = _conv(inputs, stem_filters, 3, 1, "stem", use_bias=False)
    rates = drop_path_rates(blocks, drop_path_rate, full=False)
    for stage, (width, stage_rates) in enumerate(zip(widths, rates, strict=True), start=1):
        for index, rate in enumerate(stage_rates, start=1):
            strides = 2 if stage > 1 and index == 1 else 1
            x = _block(x, width, strides, activation, skip_gain_init, rate, f"stage{stage}_block{index}")
    x = keras.layers.Activation(activation, name="final_act")(x)
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate,
                         kernel_initializer="zeros")
    return finish(inputs, outputs, name, weights)


def _block(x, filters, strides, activation, skip_gain_init, drop_path_rate, name):
    """One pre-activation block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, filters)`."""
    out = keras.layers.Activation(activation, name=f"{name}_act1")(x)
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = _conv(out, filters, 1, strides, f"{name}_shortcut")
    out = _conv(out, filters // 4, 1, 1, f"{name}_conv1")
    out = keras.layers.Activation(activation, name=f"{name}_act2")(out)
    out = _conv(out, filters // 4, 3, strides, f"{name}_conv2")
    out = keras.layers.Activation(activation, name=f"{name}_act3")(out)
    out = _conv(out, filters, 1, 1, f"{name}_conv3")
    if drop_path_rate:
        out = DropPath(drop_path_rate, rescale=False, name=f"{name}_drop_path")(out)
    out = SkipGain(skip_gain_init, name=f"{name}_skip_gain")(out)
    return keras.layers.Add(name=f"{name}_out")([out, shortcut])


def _conv(x, filters, size, strides, name, use_bias=True):
    """Haiku's convolution, with a bias: "same" padding, truncated normal over fan-in."""
    init = keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
    return GroupedConv2D(filters, size, strides, "same", use_bias=use_bias, kernel_initializer=init, name=name)(x)


SkipInitResNet50 = variant("SkipInitResNet50", SkipInitResNet, (3, 4, 6, 3), key="skipinit_resnet50",
                           paper="2002.10444")

SkipInitResNetCifar = variant(
    "SkipInitResNetCifar", SkipInitResNet, (3, 3, 3), key="skipinit_resnet_cifar", widths=(64, 128, 256),
    stem="cifar", stem_filters=16, paper="2002.10444",
    info=dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), crop_pct=1.0, num_classes=10),
)

TestSkipInitResNet = variant(  # for tests: every kind of layer of the family
    "TestSkipInitResNet", SkipInitResNet, (1, 2), key="test_skipinit_resnet", widths=(16, 32), stem_filters=8,
    paper="2002.10444", info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
