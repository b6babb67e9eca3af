"""Inception-ResNet-v2.

Formula    x <- ReLU(x + scale * conv1x1(concat(branches(x)))): ten blocks of scale 0.17, twenty of 0.1, nine of 0.2 and
           one of scale 1 without ReLU; each convolution in the branches is conv-BN-ReLU
Paper      Szegedy et al. 2016, arXiv:1602.07261; section 3.3 for the scale of the residuals
Use when   images have about 299 pixels; a published baseline with branches of several kernel shapes
Do not     use images under 75 pixels: unpadded convolutions reduce them to nothing (a `UserError`)
Cost       `kt.models.model_info("inception_resnet_v2").parameters`, `.macs(image_size)`
Differs    from the paper's figures: it is the released TF-slim network, as in keras.applications and timm: stem of
           Inception-v3, 10-20-10 blocks of 320, 1088 and 2080 channels, no auxiliary head. These two agree in geometry:
           unpadded strides, an average pool that does not count the border, and biases only on the 1x1 convolutions
           after the branches. `bn_scale=True` is timm's; `bn_scale=False` is keras.applications' and TF-slim's. BN
           epsilon is 1e-3 as in all of them. Momentum 0.99 and Glorot uniform are those of keras.applications (timm:
           0.9; TF-slim: 0.9997, also Glorot)
Status     outputs equal keras.applications' and timm's with the same weights (tests/models); not trained here

| layers             | pixels of 299 | channels | stride |
|--------------------|---------------|----------|--------|
| `stem`             | 35            | 192      | 8      |
| `stem_mixed`       | 35            | 320      | 8      |
| `stage1`, block35  | 35            | 320      | 8      |
| `stage2_reduction` | 17            | 1088     | 16     |
| `stage2`, block17  | 17            | 1088     | 16     |
| `stage3_reduction` | 8             | 2080     | 32     |
| `stage3`, block8   | 8             | 2080     | 32     |
| `final_conv`       | 8             | 1536     | 32     |
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers import DropPath
from keras_tricks.layers.convolution import kernel_init
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalization import normalization
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Activation, Initializer, Path, Shape

# A step is a pooling or a convolution (filters, kernel size, strides = 1, padding = "same").
STEM = [(32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3), "max", (80, 1), (192, 3, 1, "valid"), "max"]
BRANCHES = {
    "stem_mixed": [[(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], ["average", (64, 1)]],
    "block35": [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]],
    "stage2_reduction": [[(384, 3, 2, "valid")], [(256, 1), (256, 3), (384, 3, 2, "valid")], ["max"]],
    "block17": [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]],
    "stage3_reduction": [
        [(256, 1), (384, 3, 2, "valid")], [(256, 1), (288, 3, 2, "valid")],
        [(256, 1), (288, 3), (320, 3, 2, "valid")], ["max"],
    ],
    "block8": [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]],
}
STAGES = (("block35", 0.17), ("block17", 0.1), ("block8", 0.2))  # block, scale of its residual
FINAL = (1536, 1)
BATCH_NORM = dict(momentum=0.99, epsilon=1e-3)
MIN_SIZE = 75  # pixels; the last stage then has one


def InceptionResNet(blocks: Sequence[int], include_top: bool = True, weights: Path | None = None,
                    input_tensor: Any = None, input_shape: Shape | None = None, pooling: str | None = None,
                    classes: int = 1000, classifier_activation: Activation | None = "softmax",
                    name: str = "inception_resnet", *, dropout_rate: float = 0.0, drop_path_rate: float = 0.0,
                    sync_bn: bool = False, ghost_batch_size: int | None = None, bn_scale: bool = True,
                    kernel_initializer: Initializer = None, width: float = 1.0) -> keras.Model:
    """Builds an Inception-ResNet, version 2, as a functional model.

    Args:
        blocks: three integers > 0, number of blocks in each stage.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), the path of a `.safetensors`, `.weights.h5` or `.keras` file, or a name on the Hugging
            Face Hub; see `kt.weights.load`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(299, 299, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `"inception_resnet"`; a variant has its registry key.
        dropout_rate: float in [0, 1), dropout before the classifier. Defaults to `0.0`; TF-slim trains with 0.2.
        drop_path_rate: float in [0, 1), rate of stochastic depth in the last block; it grows linearly from 0 in the
            first. Defaults to `0.0`.
        sync_bn: bool, whether batch statistics cover all replicas (TensorFlow). Defaults to `False`.
        ghost_batch_size: integer, images per group of batch statistics (`GhostBatchNormalization`), or `None`. Defaults
            to `None`.
        bn_scale: bool, whether batch normalization has a gamma: `True` as timm, `False` as keras.applications. Defaults
            to `True`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: Glorot uniform.
        width: float > 0, multiplies the filters of every convolution, rounded up. Defaults to `1.0`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`. Blocks end in layers named `stage<i>_block<j>_out`.

    Raises:
        UserError: an unknown `pooling`, or an `input_shape` that is wrong or smaller than 75 pixels.
    """
    inputs = image_input(input_tensor, input_shape, include_top, 299)
    if any(size is not None and size < MIN_SIZE for size in inputs.shape[1:3]):
        raise UserError(f"{name}: `input_shape` must be at least {MIN_SIZE} pixels high and wide. "
                        f"Received: {tuple(inputs.shape[1:])}")
    norm = functools.partial(normalization, sync_bn, ghost_batch_size, **BATCH_NORM, scale=bn_scale)
    style = dict(width=width, init=kernel_initializer or "glorot_uniform", norm=norm)
    x = _line(inputs, STEM, "stem", style)
    x = _branches(x, "stem_mixed", "stem_mixed", style)
    total, built = sum(blocks), 0
    for stage, (count, (kind, scale)) in enumerate(zip(blocks, STAGES, strict=True), start=1):
        if stage > 1:
            x = _branches(x, f"stage{stage}_reduction", f"stage{stage}_reduction", style)
        for index in range(1, count + 1):
            built += 1
            drop = drop_path_rate * (built - 1) / max(total - 1, 1)
            x = _block(x, kind, scale, drop, f"stage{stage}_block{index}", style, last=built == total)
    x = _conv_bn_act(x, FINAL, "final_conv", style)
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, dropout_rate)
    return finish(inputs, outputs, name, weights)


def _block(x, kind, scale, drop_path_rate, name, style, last):
    """One residual block: `(batch, h, w, c)` -> the same shape. The `last` one has no scale and no ReLU."""
    branch = _branches(x, kind, name, style)
    init = kernel_init(style["init"])
    branch = keras.layers.Conv2D(x.shape[-1], 1, kernel_initializer=init, name=f"{name}_up")(branch)
    if not last:
        branch = keras.layers.Rescaling(scale, name=f"{name}_scale")(branch)
    if drop_path_rate:
        branch = DropPath(drop_path_rate, name=f"{name}_drop_path")(branch)
    if last:
        return keras.layers.Add(name=f"{name}_out")([x, branch])
    x = keras.layers.Add(name=f"{name}_add")([x, branch])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _branches(x, kind, name, style):
    """The branches of `BRANCHES[kind]` side by side, their channels concatenated."""
    ends = [_line(x, steps, f"{name}_branch{i}", style) for i, steps in enumerate(BRANCHES[kind], start=1)]
    return keras.layers.Concatenate(name=f"{name}_concat")(ends)


def _line(x, steps, name, style):
    """Applies the steps in order. Convolutions and poolings are numbered from 1."""
    convs = pools = 0
    for step in steps:
        if step == "max":
            pools += 1
            x = keras.layers.MaxPooling2D(3, 2, name=f"{name}_pool{pools}")(x)
        elif step == "average":
            pools += 1
            x = keras.layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool{pools}")(x)
        else:
            convs += 1
            x = _conv_bn_act(x, step, f"{name}_conv{convs}", style)
    return x


def _conv_bn_act(x, step, name, style):
    filters, *geometry = step
    padding = geometry.pop() if len(geometry) == 3 else "same"
    x = keras.layers.Conv2D(math.ceil(filters * style["width"]), *geometry, padding=padding, use_bias=False,
                            kernel_initializer=kernel_init(style["init"]), name=name)(x)
    x = style["norm"](name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_act")(x)


InceptionResNetV2 = variant(
    "InceptionResNetV2", InceptionResNet, (10, 20, 10), key="inception_resnet_v2", width=1.0, paper="1602.07261",
    info=dict(input_size=(299, 299, 3), test_input_size=(299, 299, 3), crop_pct=0.8975, interpolation="bicubic",
              mean=(127.5,) * 3, std=(127.5,) * 3),  # table 2: 19.9 % error, one crop
)

TestInceptionResNet = variant(  # for tests: every kind of block of the family with few parameters
    "TestInceptionResNet", InceptionResNet, (1, 1, 2), key="test_inception_resnet", width=1 / 32,
    paper="1602.07261", info=dict(input_size=(75, 75, 3), test_input_size=(75, 75, 3), num_classes=10),
)
