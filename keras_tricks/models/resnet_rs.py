"""ResNet-RS: rescaled ResNets with squeeze-excite.

Formula    as ResNet-D; a 3x3 convolution of stride 2 replaces the max-pool; a gate follows the last norm of a branch
Paper      Bello et al. 2021, arXiv:2103.07579, sections 4 and 6; reference: the authors' TPU code
Use when   classifying images; 1.7 to 2.7 times as fast on accelerators as EfficientNets of equal accuracy (paper)
Do not     scale resolution first: the paper scales it slowly, and scales depth for long and width for short training
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`; the paper prints FLOPs = 2 x MACs
Differs    nothing in the network. The momentum of batch normalization is 0.9; the authors use 0 and average all
           weights: `bn_momentum=0.0` with `optimizer.ema_decay`
Status     logits equal timm's resnetrs50 and 101 (tests/golden); the ImageNet recipes `resnet_rs/*` were not run here

| depth | blocks per stage | parameters  | published at        |
|-------|------------------|-------------|---------------------|
| 50    | 3, 4, 6, 3       | 35,691,912  | 160 px              |
| 101   | 3, 4, 23, 3      | 63,618,696  | 160, 192 px         |
| 152   | 3, 8, 36, 3      | 86,621,576  | 192, 224, 256 px    |
| 200   | 3, 24, 36, 3     | 93,209,992  | 256 px              |
| 270   | 4, 29, 53, 4     | 129,861,448 | 256 px              |
| 350   | 4, 36, 72, 4     | 163,956,168 | 256, 320 px         |
| 420   | 4, 44, 87, 4     | 191,891,656 | 320 px              |
| 26, 300, 400 | 2, 2, 2, 2; 4, 36, 54, 4; 6, 48, 72, 6 | of the scaling study | |
"""

from typing import Any

import keras

from keras_tricks.models.normalizer_free import CLASSIFIER_INIT
from keras_tricks.models.registry import variant
from keras_tricks.models.resnet import ResNet
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Activation, Initializer, Path, Shape

DEPTHS = {
    26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
    270: (4, 29, 53, 4), 300: (4, 36, 54, 4), 350: (4, 36, 72, 4), 400: (6, 48, 72, 6), 420: (4, 44, 87, 4),
}
KERNEL_INIT = {  # tf.variance_scaling_initializer(), resnet_layers.py
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"},
}
PUBLISHED = {  # depth: (training size in pixels, top-1) of its smallest published row
    50: (160, 78.8), 101: (160, 80.3), 152: (192, 82.0), 200: (256, 83.4), 270: (256, 83.8), 350: (256, 84.0),
    420: (320, 84.4),
}


def ResNetRS(depth: int, include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
             input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
             classifier_activation: Activation | None = "softmax", name: str | None = None, *,
             width_factor: float = 1.0, se_ratio: float = 0.25, activation: Activation = "relu",
             stem_pool: str = "conv", zero_gamma: bool = False, dropout_rate: float = 0.0, drop_path_rate: float = 0.0,
             drop_path_rule: str = "stage", sync_bn: bool = False, bn_momentum: float = 0.9,
             kernel_initializer: Initializer = None) -> keras.Model:
    """Builds a ResNet-RS as a functional model.

    Args:
        depth: integer, one of the table above: 26, 50, 101, 152, 200, 270, 300, 350, 400 or 420.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`, height and width at least 32 pixels. Defaults to `None`: the smallest
            published training size, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `None`: `"resnet_rs<depth>"`.
        width_factor: float > 0, factor of all channels, including the stem's (study: 0.25 to 2). Defaults to `1.0`.
        se_ratio: float, hidden units of squeeze-excite per channel; 0 omits it. Defaults to `0.25`.
        activation: Keras activation, `"relu"` (paper) or `"swish"` (Model Garden's checkpoints). Defaults to `"relu"`.
        stem_pool: `"conv"` as in all released code; `"none"` as in the paper's text: the first block has stride 2
            instead. Defaults to `"conv"`.
        zero_gamma: bool, whether every residual block starts as the identity, as in the authors' code. Defaults to
            `False`.
        dropout_rate: float in [0, 1), dropout before the classifier (paper: 0.25; 0.4 at 320 pixels). Defaults to
            `0.0`.
        drop_path_rate: float in [0, 1), rate of stochastic depth (paper: 0.1 from depth 200 on). Defaults to `0.0`.
        drop_path_rule: `"stage"` (authors), rate * (s + 1) / 5 in stage s, or `"linear"` (timm). Defaults to `"stage"`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.
        bn_momentum: float in [0, 1), weight of the old moving statistics; 0 in the paper, with an average of all
            weights. Defaults to `0.9`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: truncated normal of variance 1 / fan-in,
            as in the authors' code.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown depth (the message names the nearest), a width factor that leaves a layer without
            channels, an image smaller than 32 pixels, or an unknown `stem_pool`, `drop_path_rule` or `pooling`.
    """
    if depth not in DEPTHS:
        near = min(DEPTHS, key=lambda known: abs(known - depth))
        raise UserError(f"`depth` must be one of {', '.join(map(str, DEPTHS))}. Received: {depth}. Nearest: {near}.")
    filters, stem_filters = tuple(int(width_factor * f) for f in (64, 128, 256, 512)), int(64 * width_factor)
    if stem_filters < 2:
        raise UserError(f"`width_factor` {width_factor} leaves {stem_filters} of the stem's 64 channels: "
                        "use 1/32 or more.")
    if input_shape is not None and None not in input_shape and min(input_shape[:2]) < 32:
        raise UserError(f"ResNet-RS halves its images five times: `input_shape` must be 32 pixels or more. "
                        f"Received: {tuple(input_shape)}")
    return ResNet(
        "bottleneck", DEPTHS[depth], "d", include_top, weights, input_tensor, input_shape, pooling, classes,
        classifier_activation, name or f"resnet_rs{depth}", zero_gamma=zero_gamma, dropout_rate=dropout_rate,
        drop_path_rate=drop_path_rate, drop_path_rule=drop_path_rule, sync_bn=sync_bn, bn_momentum=bn_momentum,
        filters=filters, stem_filters=stem_filters, stem_pool=stem_pool, se_ratio=se_ratio, activation=activation,
        kernel_initializer=kernel_initializer or KERNEL_INIT, head_initializer=CLASSIFIER_INIT["kernel_initializer"],
    )


def _registration(depth: int) -> dict[str, Any]:
    """Depths that only the scaling study has lack a published accuracy; their size is the middle one of the study."""
    info: dict[str, Any] = dict(interpolation="bicubic")
    if depth in PUBLISHED:
        size, top1 = PUBLISHED[depth]
        info |= dict(input_size=(size, size, 3), test_input_size=(size, size, 3), paper_top1=top1)
    return dict(key=f"resnet_rs{depth}", paper="2103.07579", info=info)


(ResNetRS26, ResNetRS50, ResNetRS101, ResNetRS152, ResNetRS200, ResNetRS270, ResNetRS300, ResNetRS350, ResNetRS400,
 ResNetRS420) = (variant(f"ResNetRS{depth}", ResNetRS, depth, **_registration(depth)) for depth in DEPTHS)

TestResNetRS = variant(  # for tests: every kind of layer of the family
    "TestResNetRS", ResNetRS, 26, key="test_resnet_rs", width_factor=0.0625, paper="2103.07579",
    info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
