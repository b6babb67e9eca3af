"""Finds the convolutions whose bias gets a gradient that Keras sums in half precision."""

import keras

from keras_tricks import layers
from keras_tricks.utils.graph import every_layer

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Conv2DTranspose,
                keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
SUM_IN_FLOAT32 = (layers.GroupedConv2D, layers.ScaledWSConv2D, layers.WSConv2D, layers.WhiteningConv2D)


def half_precision_biases(model: keras.Model) -> list[str]:
    """The names of the convolutions with a bias that compute in bfloat16 or float16, but those of this package.

    The gradient of a bias is a sum over images and positions. A sum in bfloat16 stops growing at about 256 times its
    terms; TensorFlow 2.21 adds so on a CPU. The convolutions of `kt.layers` sum in float32, see `ops/broadcast.py`.

    Args:
        model: built `keras.Model`; models and layers inside it count.
    """
    return [layer.name for layer in every_layer(model) if isinstance(layer, CONVOLUTIONS)
            and not isinstance(layer, SUM_IN_FLOAT32) and layer.use_bias
            and layer.compute_dtype in ("bfloat16", "float16")]
