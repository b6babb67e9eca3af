"""NFNet-F0 to F7: the normalizer-free image classifiers of 2021.

Formula    x <- shortcut + alpha * gain * SE(conv1x1(act(conv3x3(act(conv3x3(act(conv1x1(beta * act(x)))))))))
Paper      Brock et al. 2021, arXiv:2102.06171, section 4; reference: deepmind-research/nfnets
Use when   accuracy per training time matters and batches are large; train with `kt.optimizers.AGC`
Do not     train without adaptive gradient clipping at batches over 1024, or add batch normalization
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`; the papers quote MACs at the test size
Differs    nothing in `layout="dm"`. `layout="timm_dm"` and `"timm"` match timm's dm_nfnet_f* and nfnet_f*
Status     logits equal timm's (tests/golden); the ImageNet recipes `nfnet/f*` were not run here

| name | blocks per stage | train / test px | dropout | parameters  | MACs at test px |
|------|------------------|-----------------|---------|-------------|-----------------|
| F0   | 1, 2, 6, 3       | 192 / 256       | 0.2     | 71,489,284  | 12.4 B          |
| F1   | 2, 4, 12, 6      | 224 / 320       | 0.3     | 132,634,256 | 35.5 B          |
| F2   | 3, 6, 18, 9      | 256 / 352       | 0.4     | 193,779,228 | 62.6 B          |
| F3   | 4, 8, 24, 12     | 320 / 416       | 0.4     | 254,924,200 | 114.8 B         |
| F4   | 5, 10, 30, 15    | 384 / 512       | 0.5     | 316,069,172 | 215.2 B         |
| F5   | 6, 12, 36, 18    | 416 / 544       | 0.5     | 377,214,144 | 289.8 B         |
| F6   | 7, 14, 42, 21    | 448 / 576       | 0.5     | 438,359,116 | 377.3 B         |
| F7   | 8, 16, 48, 24    | 480 / 608       | 0.5     | 499,504,088 | 478.8 B         |
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalizer_free import (
    ALPHA,
    CLASSIFIER_INIT,
    betas,
    drop_path_rates,
    grouped_width,
    layout_for,
    style,
)
from keras_tricks.models.registry import variant
from keras_tricks.utils.types import Activation, Path, Shape

WIDTHS = (256, 512, 1536, 1536)
# level: (train px, test px, top-1 in the paper). F6's 86.5 was trained with SAM; F7 exists only in the code.
VARIANTS = {
    0: (192, 256, 83.6), 1: (224, 320, 84.7), 2: (256, 352, 85.1), 3: (320, 416, 85.7), 4: (384, 512, 85.9),
    5: (416, 544, 86.0), 6: (448, 576, 86.5), 7: (480, 608, None),
}


def NFNet(blocks: Sequence[int], include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
          input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
          classifier_activation: Activation | None = "softmax", name: str | None = "nfnet", *,
          widths: Sequence[int] = WIDTHS, group_width: int = 128, rounding: str | None = None,
          bottleneck_ratio: float = 0.5, se_ratio: float = 0.5, activation: str = "gelu", alpha: float = ALPHA,
          skip_gain_init: float = 0.0, final_multiplier: float = 2, two_convolutions: bool = True,
          dropout_rate: float = 0.0, drop_path_rate: float = 0.0, layout: str | None = None, norm: str = "none",
          bn_momentum: float = 0.9, sync_bn: bool = False) -> keras.Model:
    """Builds an NFNet as a functional model.

    Args:
        blocks: integers > 0, number of blocks in each stage.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(192, 192, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `"nfnet"`; a variant has its registry key.
        widths: output channels of each stage; the stem has half as many as the first stage. Defaults to `(256, 512,
            1536, 1536)`.
        group_width: integer > 0, channels per group in the 3x3 convolutions. Defaults to `128`.
        rounding: `None`, or `"floor"` to round the inner width down to a multiple of `group_width`, as the reference
            code does for its F+ variants. Defaults to `None`.
        bottleneck_ratio: float, ratio of inner channels to `widths`. Defaults to `0.5`.
        se_ratio: float, hidden units of squeeze-excite per channel; 0 omits it. Defaults to `0.5`.
        activation: string; see `kt.layers.ScaledActivation`. Defaults to `"gelu"`.
        alpha: float, factor of the residual branches. Defaults to `0.2`.
        skip_gain_init: float, initial factor of a branch. Defaults to `0.0`: blocks start as the identity.
        final_multiplier: ratio of the width of the final 1x1 convolution to that of the last stage. Defaults to `2`.
        two_convolutions: bool, whether a block has two 3x3 convolutions or one. Defaults to `True`.
        dropout_rate: float in [0, 1), dropout before the classifier (paper: 0.2 for F0 to 0.5 for F4 and larger).
            Defaults to `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth (paper: 0.25), growing linearly from 0. Defaults to
            `0.0`.
        layout: `"dm"`, `"timm_dm"` or `"timm"`, the implementation to match; see `normalizer_free.Layout`. Defaults to
            `None`: the layout of `weights` from timm, else `"dm"`.
        norm: `"none"`, or `"batch"` for the network that the papers compare with: batch normalization before every
            activation and plain convolutions without bias, instead of beta, alpha, gains and standardized kernels.
            Defaults to `"none"`.
        bn_momentum: float in [0, 1), weight of the old moving statistics. Defaults to `0.9`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `layout`, `activation` or `pooling`, a width that `group_width` does not divide, or a
            wrong `input_shape`.
    """
    layout = layout or layout_for(weights)
    make = style(layout, activation, alpha, se_ratio, skip_gain_init, pooled_shortcut=True, norm=norm,
                 bn_momentum=bn_momentum, sync_bn=sync_bn)
    inner = [grouped_width(width, bottleneck_ratio, group_width, rounding) for width in widths]
    inputs = image_input(input_tensor, input_shape, include_top, 192)
    x = _stem(inputs, widths[0] // 2, make)
    sizes = (1, 3, 3, 1) if two_convolutions else (1, 3, 1)
    rates = drop_path_rates(blocks, drop_path_rate, make.layout.full_drop_path)
    for stage, (width, (mid, groups), stage_betas, stage_rates) in enumerate(
            zip(widths, inner, betas(blocks, alpha), rates, strict=True), start=1):
        for index, (beta, rate) in enumerate(zip(stage_betas, stage_rates, strict=True), start=1):
            strides = 2 if stage > 1 and index == 1 else 1
            x = make.block(x, width, mid, sizes, strides, groups, beta, rate, f"stage{stage}_block{index}")
    x = make.conv(x, int(widths[-1] * final_multiplier), 1, name="final_conv")
    x = make.act(x, "final_act")
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate, **CLASSIFIER_INIT)
    return finish(inputs, outputs, name, weights)


def _stem(x, filters, make):
    """Four 3x3 convolutions, the first and the last with stride 2. The first three do not widen in wide networks."""
    widths = min(16, filters // 8), min(32, filters // 4), min(64, filters // 2), filters
    for i, (width, strides) in enumerate(zip(widths, (2, 1, 1, 2), strict=True), start=1):
        x = make.conv(x, width, 3, strides, name=f"stem_conv{i}")
        if i < 4:
            x = make.act(x, f"stem_act{i}")
    return x


def _blocks(level: int) -> tuple[int, ...]:
    return tuple((level + 1) * n for n in (1, 2, 6, 3))


def _registration(level: int) -> dict[str, Any]:
    train, test, top1 = VARIANTS[level]
    return dict(key=f"nfnet_f{level}", paper="2102.06171",
                info=dict(input_size=(train, train, 3), test_input_size=(test, test, 3), crop_pct=test / (test + 32),
                          interpolation="bicubic", paper_top1=top1))


NFNetF0, NFNetF1, NFNetF2, NFNetF3, NFNetF4, NFNetF5, NFNetF6, NFNetF7 = (
    variant(f"NFNetF{level}", NFNet, _blocks(level), **_registration(level)) for level in VARIANTS)

TestNFNet = variant(  # for tests: every kind of layer of the family
    "TestNFNet", NFNet, (1, 2), key="test_nfnet", widths=(16, 32), group_width=8, paper="2102.06171",
    info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
