"""The small network of airbench for 32-pixel images: a whitening layer and six convolutions, no shortcuts.

Formula    whiten 2x2, GELU; three groups of conv3x3, max pool, BN, GELU, conv3x3, BN, GELU; max pool; linear / width
Paper      Jordan 2024, arXiv:2404.00498 (94 % in 3.29 A100-seconds); the code's `airbench94_muon.py`
Use when   images have CIFAR size, and minutes matter
Do not     train it for hundreds of epochs: it is made for fewer than 20
Cost       `kt.models.model_info(name).parameters`, `.macs(image_size)`
Differs    nothing in the architecture; in mixed precision the whitening layer computes in float32; TensorFlow's batch
           statistics divide the variance by N, torch's average by N - 1
Status     89.55 % on JPEG files, one seed (docs/results/airbench)

| name       | widths        | parameters, 10 classes |
|------------|---------------|------------------------|
| airbench94 | 64, 256, 256  | 1,971,352              |
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.initializers import DiracInit
from keras_tricks.layers import ScaledActivation, WhiteningConv2D
from keras_tricks.models.heads import classifier, finish, image_input
from keras_tricks.models.normalization import normalization
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Activation, Path, Shape

SMALLEST = 26  # pixels, so that the last pooling has 3 x 3


def AirbenchNet(widths: Sequence[int], include_top: bool = True, weights: Path | None = None, input_tensor: Any = None,
                input_shape: Shape | None = None, pooling: str | None = None, classes: int = 10,
                classifier_activation: Activation | None = "softmax", name: str | None = None, *,
                bn_momentum: float = 0.6, sync_bn: bool = False, ghost_batch_size: int | None = None) -> keras.Model:
    """Builds the network of airbench as a functional model.

    Args:
        widths: three integers > 0, filters of the groups.
        include_top: bool, whether to include the last pooling and the classifier. Defaults to `True`.
        weights: as for `WideResNet`. Defaults to `None` (random). Call `whiten` of the layer `whiten` on images then;
            `kt.train` does.
        input_tensor: Keras tensor to build on, or `None`. Defaults to `None`.
        input_shape: `(height, width, channels)`. Defaults to `None`: `(32, 32, 3)`, or any size without the top.
        pooling: output without the top: `None` (feature map), `"avg"` or `"max"`. Defaults to `None`.
        classes: integer > 0. Defaults to `10`.
        classifier_activation: `"softmax"`, or `None` for logits. Defaults to `"softmax"`.
        name: name of the model. Defaults to `None`: `"airbench"`.
        bn_momentum: float in [0, 1), decay of the moving statistics. Defaults to `0.6` (airbench).
        sync_bn, ghost_batch_size: as for `WideResNet`.

    Input: float `(batch, height, width, 3)`, normalized. Output: float32 `(batch, classes)`.

    Raises:
        UserError: other than three widths, an image smaller than 26 pixels, or a wrong `input_shape`.
    """
    if len(widths) != 3 or min(widths) < 1:
        raise UserError(f"`widths` must be three integers > 0. Received: {widths}")
    inputs = image_input(input_tensor, input_shape, include_top, 32)
    if include_top and any(side is not None and side < SMALLEST for side in inputs.shape[1:3]):
        raise UserError(f"`input_shape` must have at least {SMALLEST} pixels on a side. Received: {inputs.shape[1:]}")
    norm = functools.partial(normalization, sync_bn, ghost_batch_size, momentum=bn_momentum, epsilon=1e-12, scale=False)
    x = WhiteningConv2D(8 * inputs.shape[-1], 2, dtype=_at_least_float32(), name="whiten")(inputs)
    x = ScaledActivation("gelu", "none", name="whiten_act")(x)
    for group, filters in enumerate(widths, start=1):
        x = _convolution(x, filters, f"stage{group}_conv1")
        x = keras.layers.MaxPooling2D(2, name=f"stage{group}_pool")(x)
        x = _norm_act(x, f"stage{group}_1", norm)
        x = _convolution(x, filters, f"stage{group}_conv2")
        x = _norm_act(x, f"stage{group}_2", norm)
    if include_top:
        x = keras.layers.MaxPooling2D(3, name="max_pool")(x)
        x = keras.layers.Rescaling(1.0 / widths[-1], name="scale")(x)
    bound = math.sqrt(3.0)  # torch's uniform distribution, scaled to a standard deviation of 1
    outputs = classifier(x, include_top, pooling, classes, classifier_activation, use_bias=False,
                         kernel_initializer=keras.initializers.RandomUniform(-bound, bound))
    return finish(inputs, outputs, name or "airbench", weights)


def _at_least_float32():
    # In bfloat16 the rounding errors of its gradient push the bias of this layer to 40 in four epochs.
    policy = keras.config.dtype_policy()
    return "float32" if policy.compute_dtype in ("float16", "bfloat16") else policy


def _convolution(x, filters, name):
    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=DiracInit(), name=name)(x)


def _norm_act(x, name, norm):
    return ScaledActivation("gelu", "none", name=f"{name}_act")(norm(name=f"{name}_bn")(x))


INFO = dict(input_size=(32, 32, 3), test_input_size=(32, 32, 3), crop_pct=1.0, num_classes=10)
Airbench94 = variant("Airbench94", AirbenchNet, (64, 256, 256), key="airbench94", paper="2404.00498", info=INFO)
TestAirbench = variant("TestAirbench", AirbenchNet, (4, 6, 8), key="test_airbench", paper="2404.00498", info=INFO)
