"""Feature maps of a zoo model at chosen strides, for detection and segmentation."""

import math
import re

import keras

from keras_tricks.errors import UserError
from keras_tricks.models.registry import create_model


def feature_pyramid(name, strides=(4, 8, 16, 32), input_shape=(224, 224, 3), **kwargs):
    """A zoo model without its head that returns one feature map per stride.

    Args:
        name: registry key.
        strides: integers, input pixels per feature pixel, in the order wanted. Defaults to `(4, 8, 16, 32)`.
        input_shape: `(height, width, channels)`, height and width known.
        **kwargs: further arguments of the model (`weights`, `drop_path_rate`, ...).

    Returns:
        A `keras.Model`: image `(batch, height, width, 3)` -> list of `(batch, height / s, width / s, channels)`, one
        for each stride; `output_names` tells the stage each comes from.

    Raises:
        UserError: the model has no feature map at a stride asked for.
    """
    if None in input_shape:
        raise UserError(f"`input_shape` must be known to find the strides. Received: {input_shape}")
    model = create_model(name, include_top=False, input_shape=input_shape, **kwargs)
    taps = stage_outputs(model)
    missing = [s for s in strides if s not in taps]
    if missing:
        raise UserError(f"{name} has no feature map at stride {missing[0]}. It has: {sorted(taps)}.")
    return keras.Model(model.input, [taps[s] for s in strides], name=f"{name}_pyramid")


def stage_outputs(model):
    """{stride: tensor} of a zoo model: the output of the last block at each stride.

    Blocks end in a layer named `stage<i>_block<j>_out`; that is the convention of every family of the zoo.
    """
    height = model.inputs[0].shape[1]
    blocks = [layer.output for layer in model.layers if re.fullmatch(r"stage\d+_block\d+_out", layer.name)]
    # Unpadded stems leave 35 of 299 pixels where 8 divide them: the power of two nearest to the ratio.
    return {2 ** round(math.log2(height / block.shape[1])): block for block in blocks}
