"""Normalizer-free ResNets: pre-activation ResNets that train without normalization.

Formula    x <- shortcut + alpha * gain * conv1x1(act(conv3x3(act(conv1x1(beta * act(x))))))
Paper      Brock et al. 2021, arXiv:2101.08692, section 4; reference: deepmind-research/nfnets/nf_resnet.py
Use when   batch statistics are harmful: small batches, sequences of correlated images, or steps that must be cheap
Do not     train at batches over 1024 without `kt.optimizers.AGC`
Cost       as a ResNet of its depth without batch normalization
Differs    nothing in `layout="dm"`. `layout="timm"` has an average-pooled shortcut, no skip gain, the activation's
           constant inside the kernels, and symmetric padding (timm's nf_resnet*)
Status     logits equal timm's (tests/golden); `nfnet/cifar10_nf_resnet*` were run (docs/results/nfnet)

| name  | blocks per stage | parameters  | with squeeze-excite 0.25 |
|-------|------------------|-------------|--------------------------|
| 50    | 3, 4, 6, 3       | 25,557,048  | 35,635,704               |
| 101   | 3, 4, 23, 3      | 44,549,193  | 63,562,505               |
| 152   | 3, 8, 36, 3      | 60,192,858  | 86,565,402               |
| 200   | 3, 24, 36, 3     | 64,673,898  | 93,153,834               |
| 288   | 24, 24, 24, 24   | 146,460,552 | 213,422,472              |
| cifar | 3, 3, 3          | 313,123 with 10 classes                |
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalizer_free import ALPHA, CLASSIFIER_INIT, betas, drop_path_rates, layout_for, style
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import check_choice
from keras_tricks.utils.types import Activation, Path, Shape

VARIANTS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3), 288: (24, 24, 24, 24)}
WIDTHS = (256, 512, 1024, 2048)


def NFResNet(blocks: Sequence[int], include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
             input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
             classifier_activation: Activation | None = "softmax", name: str | None = "nf_resnet", *,
             stem: str = "imagenet", stem_filters: int = 64, widths: Sequence[int] = WIDTHS,
             bottleneck_ratio: float = 0.25, se_ratio: float = 0.0, activation: str = "relu", alpha: float = ALPHA,
             skip_gain_init: float = 0.0, dropout_rate: float = 0.0, drop_path_rate: float = 0.0,
             scaled_ws: bool = True, layout: str | None = None, norm: str = "none", bn_momentum: float = 0.9,
             sync_bn: bool = False) -> keras.Model:
    """Builds a normalizer-free ResNet as a functional model.

    Args:
        blocks: integers > 0, number of blocks in each stage.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(224, 224, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `"nf_resnet"`; a variant has its registry key.
        stem: `"imagenet"` (7x7 of stride 2 and max-pool) or `"cifar"` (one 3x3 convolution). Defaults to `"imagenet"`.
        stem_filters: output channels of the stem. Defaults to `64`.
        widths: output channels of each stage, one per entry of `blocks`. Defaults to `(256, 512, 1024, 2048)`.
        bottleneck_ratio: float, ratio of inner channels to `widths`. Defaults to `0.25`.
        se_ratio: float, hidden units of squeeze-excite per channel (paper: 0.25); 0 omits it. Defaults to `0.0`.
        activation: string; see `kt.layers.ScaledActivation`. Defaults to `"relu"`.
        alpha: float, factor of the residual branches. Defaults to `0.2`.
        skip_gain_init: float, initial factor of a branch. Defaults to `0.0`: blocks start as the identity.
        dropout_rate: float in [0, 1), dropout before the classifier. Defaults to `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth, growing linearly from 0. Defaults to `0.0`.
        scaled_ws: bool, whether to standardize the kernels. With `False`, for ablations, convolutions are plain and the
            mean of the signal drifts (paper, section 4.2). Defaults to `True`.
        layout: `"dm"` or `"timm"`, the implementation to match; see the card. Defaults to `None`: `"timm"` for weights
            from timm, else `"dm"`.
        norm: `"none"`, or `"batch"` for the network that the papers compare with: batch normalization before every
            activation and plain convolutions without bias, instead of beta, alpha, gains and standardized kernels.
            Defaults to `"none"`.
        bn_momentum: float in [0, 1), weight of the old moving statistics. Defaults to `0.9`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `stem`, `layout`, `activation` or `pooling`, or a wrong `input_shape`.
    """
    check_choice("stem", stem, ("imagenet", "cifar"))
    layout = layout or layout_for(weights)
    make = style(layout, activation, alpha, se_ratio, skip_gain_init, layout == "timm", scaled_ws,
                 ("dm", "timm"), norm, bn_momentum, sync_bn)
    inputs = image_input(input_tensor, input_shape, include_top, 224 if stem == "imagenet" else 32)
    if stem == "imagenet":
        x = make.max_pool(make.conv(inputs, stem_filters, 7, 2, name="stem"), "stem_pool")
    else:
        x = make.conv(inputs, stem_filters, 3, name="stem")
    rates = drop_path_rates(blocks, drop_path_rate, make.layout.full_drop_path)
    for stage, (width, stage_betas, stage_rates) in enumerate(
            zip(widths, betas(blocks, alpha), rates, strict=True), start=1):
        for index, (beta, rate) in enumerate(zip(stage_betas, stage_rates, strict=True), start=1):
            strides, mid = 2 if stage > 1 and index == 1 else 1, int(width * bottleneck_ratio)
            x = make.block(x, width, mid, (1, 3, 1), strides, 1, beta, rate, f"stage{stage}_block{index}")
    x = make.act(x, "final_act")
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate, **CLASSIFIER_INIT)
    return finish(inputs, outputs, name, weights)


NFResNet50, NFResNet101, NFResNet152, NFResNet200, NFResNet288 = (
    variant(f"NFResNet{depth}", NFResNet, blocks, key=f"nf_resnet{depth}", paper="2101.08692")
    for depth, blocks in VARIANTS.items())

CIFAR = dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), crop_pct=1.0, num_classes=10)
NFResNetCifar = variant(
    "NFResNetCifar", NFResNet, (3, 3, 3), key="nf_resnet_cifar", widths=(64, 128, 256), stem="cifar",
    stem_filters=16, paper="2101.08692", info=CIFAR,
)

TestNFResNet = variant(  # for tests: every kind of layer of the family
    "TestNFResNet", NFResNet, (1, 2), key="test_nf_resnet", widths=(16, 32), stem_filters=8,
    paper="2101.08692", info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
