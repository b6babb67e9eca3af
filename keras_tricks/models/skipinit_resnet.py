"""SkipInit ResNets: plain pre-activation ResNets whose branches are multiplied by one trained number.

Formula    x <- shortcut + gain * conv1x1(act(conv3x3(act(conv1x1(act(x)))))), gain 0 at the start
Paper      De & Smith 2020, arXiv:2002.10444, section 4; reference: deepmind-research/nfnets/skipinit_resnet.py
Use when   you want to see what one scalar per block replaces; `nf_resnet*` is the network to use
Do not     expect batch normalization's accuracy without dropout or mixup, or large batches to work
Cost       as a ResNet of its depth without batch normalization
Differs    nothing
Status     ImageNet not reproduced here

| name | blocks per stage | parameters |
|------|------------------|------------|
| 50   | 3, 4, 6, 3       | 25,530,424 |
"""

import keras

from keras_tricks.layers import DropPath, SkipGain
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalizer_free import drop_path_rates
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import check_choice

WIDTHS = (256, 512, 1024, 2048)


def SkipInitResNet(blocks, include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
                   classes=1000, classifier_activation="softmax", name="skipinit_resnet", *, stem="imagenet",
                   stem_filters=64, widths=WIDTHS, activation="relu", skip_gain_init=0.0, dropout_rate=0.0,
                   drop_path_rate=0.0):
    """Builds a SkipInit ResNet as a functional model.

    Args:
        blocks: integers > 0, blocks of each stage.
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name: as
            `kt.models.NFResNet`.
        stem: `"imagenet"` (7x7 of stride 2 and max-pool) or `"cifar"` (one 3x3 convolution).
        stem_filters: output channels of the stem.
        widths: output channels of each stage, four times those inside its blocks.
        activation: Keras activation.
        skip_gain_init: float, the trained factor at the start: 0, or up to `sum(blocks) ** -0.5`.
        dropout_rate: float in [0, 1), before the classifier.
        drop_path_rate: float in [0, 1), stochastic depth, growing linearly from 0; survivors are not rescaled.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `stem` or `pooling`, a wrong `input_shape`.
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
    """Haiku's convolution: "same" padding, truncated normal over fan-in."""
    init = keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
    return keras.layers.Conv2D(filters, size, strides, "same", use_bias=use_bias, kernel_initializer=init, name=name)(x)


SkipInitResNet50 = variant("SkipInitResNet50", SkipInitResNet, key="skipinit_resnet50", blocks=(3, 4, 6, 3),
                           paper="2002.10444")

SkipInitResNetCifar = variant(
    "SkipInitResNetCifar", SkipInitResNet, key="skipinit_resnet_cifar", blocks=(3, 3, 3), widths=(64, 128, 256),
    stem="cifar", stem_filters=16, paper="2002.10444",
    info=dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), crop_pct=1.0, num_classes=10),
)

TestSkipInitResNet = variant(  # every layer kind of the family, for tests
    "TestSkipInitResNet", SkipInitResNet, key="test_skipinit_resnet", blocks=(1, 2), widths=(16, 32), stem_filters=8,
    paper="2002.10444", info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
