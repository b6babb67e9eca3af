"""Fixup ResNets: train without normalization through initialization and a few scalars per block.

Formula    x <- act(scale * conv1x1(act(conv3x3(act(conv1x1(x + b1) + b2) + b3) + b4) + b5) + b6 + shortcut)
Paper      Zhang et al. 2019, arXiv:1901.09321, section 3; reference: deepmind-research/nfnets/fixup_resnet.py
Use when   studying the effect of initialization alone; in practice use `nf_resnet*`
Do not     omit strong regularization: the authors train with mixup (alpha 0.7 on ImageNet)
Cost       as a ResNet of its depth without batch normalization
Differs    the network is that of the reference: unlike in the authors' code, identity shortcuts include the first bias,
           and padding is "same". The stem starts as the authors' (PyTorch's default, uniform within 1 / sqrt(fan-in)).
           They train the scalars at a tenth of the learning rate; our optimizers use one rate for all weights
Status     ImageNet not reproduced here

| name | blocks per stage | parameters |
|------|------------------|------------|
| 50   | 3, 4, 6, 3       | 25,504,026 |
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.initializers import FixupInit
from keras_tricks.layers import DropPath, ScalarBias, SkipGain
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalizer_free import drop_path_rates
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import check_choice
from keras_tricks.utils.types import Activation, Path, Shape

WIDTHS = (256, 512, 1024, 2048)
STEM_INIT = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # the authors' code leaves PyTorch's default


def FixupResNet(blocks: Sequence[int], include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
                input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
                classifier_activation: Activation | None = "softmax", name: str | None = "fixup_resnet", *,
                stem: str = "imagenet", stem_filters: int = 64, widths: Sequence[int] = WIDTHS,
                activation: Activation = "relu", dropout_rate: float = 0.0, drop_path_rate: float = 0.0) -> keras.Model:
    """Builds a Fixup ResNet as a functional model.

    Args:
        blocks: integers > 0, number of blocks in each stage.
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name: as
            `kt.models.NFResNet`.
        stem: `"imagenet"` (7x7 of stride 2 and max-pool) or `"cifar"` (one 3x3 convolution). Defaults to `"imagenet"`.
        stem_filters: output channels of the stem. Defaults to `64`.
        widths: output channels of each stage, four times the channels inside its blocks. Defaults to `(256, 512, 1024,
            2048)`.
        activation: Keras activation. Defaults to `"relu"`.
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
    size, strides = (7, 2) if stem == "imagenet" else (3, 1)
    x = _conv(inputs, stem_filters, size, strides, "stem", STEM_INIT.clone())
    x = keras.layers.Activation(activation, name="stem_act")(ScalarBias(name="stem_bias")(x))
    if stem == "imagenet":
        x = keras.layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)
    rates = drop_path_rates(blocks, drop_path_rate, full=False)
    for stage, (width, stage_rates) in enumerate(zip(widths, rates, strict=True), start=1):
        for index, rate in enumerate(stage_rates, start=1):
            strides = 2 if stage > 1 and index == 1 else 1
            x = _block(x, width, strides, activation, sum(blocks), rate, f"stage{stage}_block{index}")
    # A scalar added to every feature has the same effect before and after the mean over the image.
    x = ScalarBias(name="final_bias")(x)
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate,
                         kernel_initializer="zeros")
    return finish(inputs, outputs, name, weights)


def _block(x, filters, strides, activation, num_blocks, drop_path_rate, name):
    """One block: `(batch, h, w, c)` -> `(batch, h / strides, w / strides, filters)`."""
    out = ScalarBias(name=f"{name}_bias1a")(x)
    shortcut = out
    if strides > 1 or x.shape[-1] != filters:
        shortcut = _conv(out, filters, 1, strides, f"{name}_shortcut", _he())
    out = _conv(out, filters // 4, 1, 1, f"{name}_conv1", FixupInit(num_blocks))
    out = keras.layers.Activation(activation, name=f"{name}_act1")(ScalarBias(name=f"{name}_bias1b")(out))
    out = ScalarBias(name=f"{name}_bias2a")(out)
    out = _conv(out, filters // 4, 3, strides, f"{name}_conv2", FixupInit(num_blocks))
    out = keras.layers.Activation(activation, name=f"{name}_act2")(ScalarBias(name=f"{name}_bias2b")(out))
    out = ScalarBias(name=f"{name}_bias3a")(out)
    out = _conv(out, filters, 1, 1, f"{name}_conv3", "zeros")
    out = ScalarBias(name=f"{name}_bias3b")(SkipGain(1.0, name=f"{name}_scale")(out))
    if drop_path_rate:
        out = DropPath(drop_path_rate, rescale=False, name=f"{name}_drop_path")(out)
    out = keras.layers.Add(name=f"{name}_add")([out, shortcut])
    return keras.layers.Activation(activation, name=f"{name}_out")(out)


def _conv(x, filters, size, strides, name, init):
    return keras.layers.Conv2D(filters, size, strides, "same", use_bias=False, kernel_initializer=init, name=name)(x)


def _he():
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


FixupResNet50 = variant("FixupResNet50", FixupResNet, (3, 4, 6, 3), key="fixup_resnet50", paper="1901.09321")

TestFixupResNet = variant(  # for tests: every kind of layer of the family
    "TestFixupResNet", FixupResNet, (1, 2), key="test_fixup_resnet", widths=(16, 32), stem_filters=8,
    paper="1901.09321", info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
