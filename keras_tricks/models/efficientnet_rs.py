"""EfficientNet-RS: EfficientNets trained and tested at lower resolutions.

Formula    the networks of `keras.applications`; only the image size changes
Paper      Bello et al. 2021, arXiv:2103.07579, section 7.2; networks: Tan & Le 2019, arXiv:1905.11946
Use when   parameters or multiply-adds are what you pay for
Do not     expect multiply-adds to predict time on accelerators: depthwise convolutions are bound by memory
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    nothing. The paper prints no table of sizes and accuracies per model; the sizes here are EfficientNet's,
           choose yours by `input_shape`
Status     outputs equal `keras.applications`; the ImageNet recipes `efficientnet_rs/*` were not run here

The network itself scales pixels and normalizes: it takes 0 to 255, so its mean is 0 and its standard deviation 1.

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

import keras

from keras_tricks.errors import UserError
from keras_tricks.models.heads import finish
from keras_tricks.models.registry import variant

SIZES = {0: 224, 1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}


def EfficientNetRS(level, include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
                   classes=1000, classifier_activation="softmax", name=None):
    """Builds an EfficientNet of `keras.applications` for any image size.

    Args:
        level: integer 0 to 7.
        include_top: bool, pool and classify. Defaults to `True`.
        weights: `None` (random) or the path of a `.safetensors`, `.weights.h5` or `.keras` file.
        input_tensor: Keras tensor to build on, or `None`.
        input_shape: `(height, width, channels)`, 32 pixels or more. Defaults to EfficientNet's own size.
        pooling: without top: `None` (feature map), `"avg"` or `"max"`.
        classes: integer > 0. Defaults to `1000`.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model. Defaults to `"efficientnet_rs_b<level>"`.

    Input: float `(batch, height, width, 3)` in 0-255. Output: float32 `(batch, classes)`.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: an unknown level, an image smaller than 32 pixels.
    """
    if level not in SIZES:
        raise UserError(f"`level` must be 0 to 7. Received: {level}")
    if input_shape is None and input_tensor is None and include_top:
        input_shape = (SIZES[level], SIZES[level], 3)
    if input_shape is not None and None not in input_shape and min(input_shape[:2]) < 32:
        raise UserError("EfficientNets halve their images five times: `input_shape` needs 32 pixels or more. "
                        f"Received: {tuple(input_shape)}")
    build = getattr(keras.applications, f"EfficientNetB{level}")
    model = build(include_top, None, input_tensor, input_shape, pooling, classes, classifier_activation,
                  name=name or f"efficientnet_rs_b{level}")  # fmt: skip
    outputs = model.output
    if include_top and keras.config.dtype_policy().compute_dtype != "float32":
        outputs = keras.layers.Activation("linear", dtype="float32", name="head_float32")(outputs)
    return finish(model.input, outputs, model.name, weights)


def _variant(level):
    size = (SIZES[level], SIZES[level], 3)
    return variant(
        f"EfficientNetRSB{level}", EfficientNetRS, key=f"efficientnet_rs_b{level}", level=level, paper="2103.07579",
        info=dict(input_size=size, test_input_size=size, interpolation="bicubic", mean=(0.0, 0.0, 0.0),
                  std=(1.0, 1.0, 1.0)),
    )  # fmt: skip


(EfficientNetRSB0, EfficientNetRSB1, EfficientNetRSB2, EfficientNetRSB3, EfficientNetRSB4, EfficientNetRSB5,
 EfficientNetRSB6, EfficientNetRSB7) = map(_variant, SIZES)  # fmt: skip
