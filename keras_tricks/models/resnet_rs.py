"""ResNet-RS: ResNets with squeeze-excite, re-scaled.

Formula    as ResNet-D; the stem's max-pool is a 3x3 convolution of stride 2, a gate follows the last norm of a branch
Paper      Bello et al. 2021, arXiv:2103.07579, section 4 and 6; reference: the authors' TPU code
Use when   images; faster on accelerators than EfficientNets of the same accuracy (the paper's 1.7 to 2.7 times)
Do not     scale resolution first: the paper grows it slowly, deepens for long training and widens for short
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`; the paper prints FLOPs = 2 x MACs
Differs    nothing in the network; batch normalization keeps 0.9 of its statistics. The authors keep none and average
           all weights: `bn_momentum=0.0` with `optimizer.ema_decay`
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

from keras_tricks.models.normalizer_free import CLASSIFIER_INIT
from keras_tricks.models.registry import variant
from keras_tricks.models.resnet import ResNet
from keras_tricks.utils.errors import UserError

DEPTHS = {
    26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
    270: (4, 29, 53, 4), 300: (4, 36, 54, 4), 350: (4, 36, 72, 4), 400: (6, 48, 72, 6), 420: (4, 44, 87, 4),
}
PUBLISHED = {  # depth: (training size in pixels, top-1) of its smallest published row
    50: (160, 78.8), 101: (160, 80.3), 152: (192, 82.0), 200: (256, 83.4), 270: (256, 83.8), 350: (256, 84.0),
    420: (320, 84.4),
}


def ResNetRS(depth, include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name=None, *, width_factor=1.0, se_ratio=0.25, activation="relu",
             stem_pool="conv", zero_gamma=False, dropout_rate=0.0, drop_path_rate=0.0, drop_path_rule="stage",
             sync_bn=False, bn_momentum=0.9, kernel_initializer=None):
    """Builds a ResNet-RS as a functional model.

    Args:
        depth: integer, a row of the table above: 26, 50, 101, 152, 200, 270, 300, 350, 400 or 420.
        include_top: bool, pool and classify. Defaults to `True`.
        weights: `None` (random) or the path of a `.safetensors`, `.weights.h5` or `.keras` file.
        input_tensor: Keras tensor to build on, or `None`.
        input_shape: `(height, width, channels)`, height and width at least 32 pixels. Defaults to the smallest
            published training size, to any size without top.
        pooling: without top: `None` (feature map), `"avg"` or `"max"`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model. Defaults to `"resnet_rs<depth>"`.
        width_factor: float > 0, multiplies all channels, the stem's too (study: 0.25 to 2). Defaults to `1.0`.
        se_ratio: float, hidden units of squeeze-excite per channel; 0 for none. Defaults to `0.25`.
        activation: Keras activation: `"relu"` (paper) or `"swish"` (Model Garden's checkpoints).
        stem_pool: `"conv"` as in all released code; `"none"`, the reading of the paper's text: the first block has
            stride 2 instead. Defaults to `"conv"`.
        zero_gamma: bool, start every residual block as the identity (the authors' code does). Defaults to `False`.
        dropout_rate: float in [0, 1), before the classifier (paper: 0.25; 0.4 at 320 pixels).
        drop_path_rate: float in [0, 1), stochastic depth (paper: 0.1 from depth 200 on).
        drop_path_rule: `"stage"`, rate * (s + 1) / 5 in stage s (authors), or `"linear"` (timm).
        sync_bn: bool, batch statistics over all replicas (TensorFlow). Defaults to `False`.
        bn_momentum: float in [0, 1), share of the old moving statistic kept; 0 in the paper, under an average of all
            weights. Defaults to `0.9`.
        kernel_initializer: Keras identifier; `None` is He normal over fan-out.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown depth (the nearest is named), a width factor that leaves a layer without channels, an
            image smaller than 32 pixels, an unknown `stem_pool`, `drop_path_rule` or `pooling`.
    """
    if depth not in DEPTHS:
        near = min(DEPTHS, key=lambda known: abs(known - depth))
        raise UserError(f"`depth` must be one of {', '.join(map(str, DEPTHS))}. Received: {depth}. Nearest: {near}.")
    filters, stem_filters = tuple(int(width_factor * f) for f in (64, 128, 256, 512)), int(64 * width_factor)
    if stem_filters < 2:
        raise UserError(f"`width_factor` {width_factor} leaves {stem_filters} of the stem's 64 channels: "
                        "give 1/32 or more.")
    if input_shape is not None and None not in input_shape and min(input_shape[:2]) < 32:
        raise UserError(f"ResNet-RS halves its images five times: `input_shape` needs 32 pixels or more. "
                        f"Received: {tuple(input_shape)}")
    return ResNet(
        "bottleneck", DEPTHS[depth], "d", include_top, weights, input_tensor, input_shape, pooling, classes,
        classifier_activation, name or f"resnet_rs{depth}", zero_gamma=zero_gamma, dropout_rate=dropout_rate,
        drop_path_rate=drop_path_rate, drop_path_rule=drop_path_rule, sync_bn=sync_bn, bn_momentum=bn_momentum,
        filters=filters, stem_filters=stem_filters, stem_pool=stem_pool, se_ratio=se_ratio, activation=activation,
        kernel_initializer=kernel_initializer, head_initializer=CLASSIFIER_INIT["kernel_initializer"],
    )


def _variant(depth):
    size, top1 = PUBLISHED[depth]
    return variant(
        f"ResNetRS{depth}", ResNetRS, key=f"resnet_rs{depth}", depth=depth, paper="2103.07579",
        info=dict(input_size=(size, size, 3), test_input_size=(size, size, 3), interpolation="bicubic",
                  paper_top1=top1),
    )


ResNetRS50, ResNetRS101, ResNetRS152, ResNetRS200, ResNetRS270, ResNetRS350, ResNetRS420 = map(_variant, PUBLISHED)

def _study_variant(depth):
    """A depth of the scaling study: no accuracy is published, so the size is the middle one of the study."""
    return variant(f"ResNetRS{depth}", ResNetRS, key=f"resnet_rs{depth}", depth=depth, paper="2103.07579",
                   info=dict(interpolation="bicubic"))


ResNetRS26, ResNetRS300, ResNetRS400 = map(_study_variant, (26, 300, 400))

TestResNetRS = variant(  # every layer kind of the family, for tests
    "TestResNetRS", ResNetRS, key="test_resnet_rs", depth=26, width_factor=0.0625, paper="2103.07579",
    info=dict(input_size=(64, 64, 3), test_input_size=(64, 64, 3), num_classes=10),
)
