"""The convolution of the residual families: no bias, He initialization, symmetric padding.

TensorFlow's `padding="same"` pads a strided convolution only on the right and the bottom. The checkpoints of the papers
and of timm were trained with symmetric padding, which needs a separate padding layer when the stride is not 1.
"""

import keras

from keras_tricks.layers.grouped_conv2d import GroupedConv2D


def kernel_init(identifier=None):
    """Returns a new initializer each time, because a Keras initializer gives the same values at every call.

    `None` is He normal over fan-out (He et al. 2015, arXiv:1502.01852; timm, gluon-cv). `"glorot_uniform"` is the
    Xavier initialization of the Bag of Tricks text.
    """
    if identifier is None:
        return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    initializer = keras.initializers.get(identifier)
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer


def convolution(filters, kernel_size, strides=1, kernel_initializer=None, *, groups=1, use_bias=False, name=None,
                dtype=None):
    """The layers of one convolution: `[Conv2D]`, or `[ZeroPadding2D, Conv2D]` for a strided kernel larger than 1.

    Args:
        filters, kernel_size, strides, groups: integers > 0.
        kernel_initializer: see `kernel_init`.
        name: name of the `Conv2D`; the padding layer is named `<name>_pad`.

    Returns:
        A list of one or two unbuilt layers to apply in order.
    """
    padded = strides > 1 and kernel_size > 1
    kind = GroupedConv2D if groups > 1 or use_bias else keras.layers.Conv2D
    conv = kind(
        filters, kernel_size, strides, padding="valid" if padded else "same", groups=groups, use_bias=use_bias,
        kernel_initializer=kernel_init(kernel_initializer), name=name, dtype=dtype,
    )
    if not padded:
        return [conv]
    pad_name = None if name is None else f"{name}_pad"
    return [keras.layers.ZeroPadding2D(kernel_size // 2, name=pad_name, dtype=dtype), conv]
