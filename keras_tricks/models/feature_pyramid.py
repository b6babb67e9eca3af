"""Feature maps of a zoo model at chosen strides, for detection and segmentation.

The model has the property `pyramid_outputs` that KerasHub reads, so it is an `image_encoder` of its task models:

    encoder = kt.models.feature_pyramid("resnet50d", input_shape=(512, 512, 3))
    keras_hub.models.DeepLabV3Backbone(encoder, "P5", 8, [6, 12, 18], "P2", image_shape=(512, 512, 3))
    keras_hub.models.RetinaNetBackbone(encoder, min_level=3, max_level=7, use_p5=False, image_shape=(512, 512, 3))
"""

import math
import re

import keras

from keras_tricks.models.registry import create_model
from keras_tricks.utils.errors import UserError


def feature_pyramid(name, strides=(4, 8, 16, 32), input_shape=(224, 224, 3), **kwargs):
    """A zoo model without its head that returns one feature map per stride.

    Args:
        name: registry key.
        strides: integers, input pixels per feature pixel, in the order wanted. Defaults to `(4, 8, 16, 32)`.
        input_shape: `(height, width, channels)`, height and width known.
        **kwargs: further arguments of the model (`weights`, `drop_path_rate`, ...).

    Returns:
        A `FeaturePyramid`, a `keras.Model`: image `(batch, height, width, 3)` -> list of `(batch, height / s, width /
        s, channels)`, one for each stride; `output_names` tells the stage each comes from.

    Raises:
        UserError: the model has no feature map at a stride asked for.
    """
    return FeaturePyramid(name, strides, input_shape, **kwargs)


@keras.saving.register_keras_serializable(package="keras_tricks")
class FeaturePyramid(keras.Model):
    """What `feature_pyramid` returns; arguments there. `pyramid_outputs`: {"P2": map at stride 4, "P3": at 8, ...}."""

    def __init__(self, model, strides=(4, 8, 16, 32), input_shape=(224, 224, 3), name=None, **options):
        if None in input_shape:
            raise UserError(f"`input_shape` must be known to find the strides. Received: {input_shape}")
        whole = create_model(model, include_top=False, input_shape=tuple(input_shape), **options)
        taps = stage_outputs(whole)
        missing = [s for s in strides if s not in taps]
        if missing:
            raise UserError(f"{model} has no feature map at stride {missing[0]}. It has: {sorted(taps)}.")
        super().__init__(whole.input, [taps[s] for s in strides], name=name or f"{model}_pyramid")
        self.pyramid_outputs = {f"P{int(math.log2(s))}": taps[s] for s in sorted(strides)}
        options.pop("weights", None)  # a saved model has its own
        self._config = {"model": model, "strides": list(strides), "input_shape": list(input_shape), **options}

    def get_config(self):
        return {"name": self.name, **self._config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def stage_outputs(model):
    """{stride: tensor} of a zoo model: the output of the last block at each stride.

    Blocks end in a layer named `stage<i>_block<j>_out`; that is the convention of every family of the zoo.
    """
    height = model.inputs[0].shape[1]
    blocks = [layer.output for layer in model.layers if re.fullmatch(r"stage\d+_block\d+_out", layer.name)]
    # Unpadded stems leave 35 of 299 pixels where 8 divide them: the power of two nearest to the ratio.
    return {2 ** round(math.log2(height / block.shape[1])): block for block in blocks}
