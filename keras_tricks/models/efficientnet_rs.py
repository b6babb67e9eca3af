"""EfficientNet-RS: EfficientNets trained and tested at lower resolutions.

Formula    the networks of `keras.applications`; only the image size changes
Paper      Bello et al. 2021, arXiv:2103.07579, section 7.2; networks: Tan & Le 2019, arXiv:1905.11946
Use when   parameters or multiply-adds are the limiting cost
Do not     expect multiply-adds to predict time on accelerators: depthwise convolutions are memory-bound
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    takes normalized images, as every model of the zoo does: it is the network of `keras.applications` without
           the two layers that scale pixels. The paper prints no table of sizes and accuracies per model; the sizes
           here are EfficientNet's. Set another size with `input_shape`
Status     outputs equal `keras.applications` and timm's `tf_efficientnet_b0` (tests/models, tests/weights); the
           ImageNet recipes `efficientnet_rs/*` were not run here

| name | width | depth | EfficientNet's size | dropout | parameters |
|------|-------|-------|---------------------|---------|------------|
| b0   | 1.0   | 1.0   | 224                 | 0.2     | 5,288,548  |
| b1   | 1.0   | 1.1   | 240                 | 0.2     | 7,794,184  |
| b2   | 1.1   | 1.2   | 260                 | 0.3     | 9,109,994  |
| b3   | 1.2   | 1.4   | 300                 | 0.3     | 12,233,232 |
| b4   | 1.4   | 1.8   | 380                 | 0.4     | 19,341,616 |
| b5   | 1.6   | 2.2   | 456                 | 0.4     | 30,389,784 |
| b6   | 1.8   | 2.6   | 528                 | 0.5     | 43,040,704 |
| b7   | 2.0   | 3.1   | 600                 | 0.5     | 66,347,960 |
"""

from typing import Any

import keras

from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Activation, Path, Shape

SIZES = {0: 224, 1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}
DROPOUT = {0: 0.2, 1: 0.2, 2: 0.3, 3: 0.3, 4: 0.4, 5: 0.4, 6: 0.5, 7: 0.5}
FIRST = "stem_conv_pad"  # the first layer after those that scale pixels


def EfficientNetRS(level: int, include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
                   input_shape: Shape | None = None, pooling: str | None = None, classes: int = 1000,
                   classifier_activation: Activation | None = "softmax", name: str | None = None, *,
                   dropout_rate: float | None = None) -> keras.Model:
    """Builds an EfficientNet of `keras.applications` for any image size and normalized images.

    Args:
        level: integer 0 to 7.
        include_top: bool, whether to include pooling and classifier. Defaults to `True`.
        weights: `None` (random), a file, or a name such as `"timm/tf_efficientnet_b0.in1k"`. Defaults to `None`.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`, 32 pixels or more. Defaults to `None`: EfficientNet's size.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `None`: `"efficientnet_rs_b<level>"`.
        dropout_rate: float in [0, 1), dropout before the classifier. Defaults to `None`: the rate in the table.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: an unknown level, or an image smaller than 32 pixels.
    """
    if level not in SIZES:
        raise UserError(f"`level` must be 0 to 7. Received: {level}")
    if input_shape is not None and None not in input_shape and min(input_shape[:2]) < 32:
        raise UserError("EfficientNets halve their images five times: `input_shape` must be 32 pixels or more. "
                        f"Received: {tuple(input_shape)}")
    inputs = image_input(input_tensor, input_shape, include_top, SIZES[level])
    x = _features(level, inputs)
    rate = DROPOUT[level] if dropout_rate is None else dropout_rate
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, rate,
                         kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform"))
    return finish(inputs, outputs, name or f"efficientnet_rs_b{level}", weights)


def _features(level, inputs):
    """The layers of `keras.applications` from the first padding to the last activation, on `inputs`."""
    whole = getattr(keras.applications, f"EfficientNetB{level}")(False, None, None, tuple(inputs.shape[1:]))
    body = keras.Model(whole.get_layer(FIRST).input, whole.output)
    return keras.models.clone_model(body, input_tensors=inputs).output


def _registration(level: int) -> dict[str, Any]:
    size = (SIZES[level], SIZES[level], 3)
    return dict(key=f"efficientnet_rs_b{level}", paper="2103.07579",
                info=dict(input_size=size, test_input_size=size, interpolation="bicubic"))


(EfficientNetRSB0, EfficientNetRSB1, EfficientNetRSB2, EfficientNetRSB3, EfficientNetRSB4, EfficientNetRSB5,
 EfficientNetRSB6, EfficientNetRSB7) = (
    variant(f"EfficientNetRSB{level}", EfficientNetRS, level, **_registration(level)) for level in SIZES)
