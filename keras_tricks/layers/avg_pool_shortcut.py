"""The shortcut of ResNet-D: average pooling before a 1x1 convolution of stride 1.

Formula    shortcut(x) = BN(conv1x1(avgpool2x2/2(x)))
Paper      He et al. 2018, arXiv:1812.01187, figure 2c (ResNet-D)
Recipe     resnet_d: model.name=resnet50d
Use when   a residual stage halves the resolution: the strided 1x1 convolution that it replaces ignores 3/4 of its input
Do not     expect a change where the stride is 1: there is no pooling there (gluon-cv, timm; Model Garden differs)
Cost       no parameters; the 1x1 convolution runs on as many pixels as before
Differs    nothing. At odd sizes the last window averages only the pixels inside the image, as in timm and gluon-cv
Status     in the D recipes of `bag_of_tricks/`; `bag_of_tricks/cifar10_resnet20d` was run (docs/results)
"""

from typing import Any

import keras

from keras_tricks.layers.batch_normalization import BatchNormalization
from keras_tricks.layers.chain import Chain
from keras_tricks.layers.convolution import convolution
from keras_tricks.utils.types import Initializer


@keras.saving.register_keras_serializable(package="keras_tricks")
class AvgPoolShortcut(Chain):
    """Average pooling (when `strides` is not 1), 1x1 convolution, batch normalization.

    Args:
        filters: integer > 0, output channels.
        strides: integer > 0, the factor that divides height and width. Defaults to `2`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: He normal over fan-out.
        epsilon: float, epsilon of the batch normalization. Defaults to `1e-5`.
        momentum: float in [0, 1], weight of the old moving statistics. Defaults to `0.9`.
        synchronized: bool, whether batch statistics cover all replicas. Defaults to `False`.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / strides), ceil(width / strides), filters)`.
    """

    def __init__(self, filters: int, strides: int = 2, kernel_initializer: Initializer = None, epsilon: float = 1e-5,
                 momentum: float = 0.9, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides
        self.kernel_initializer = kernel_initializer
        self.epsilon, self.momentum, self.synchronized = epsilon, momentum, synchronized
        self.layers = []
        if strides > 1:
            self.layers += [
                keras.layers.AveragePooling2D(strides, strides, padding="same", name="pool", dtype=self.dtype_policy)
            ]
        self.layers += [
            *convolution(filters, 1, 1, kernel_initializer, name="conv", dtype=self.dtype_policy),
            BatchNormalization(momentum=momentum, epsilon=epsilon, synchronized=synchronized, name="bn",
                               dtype=self.dtype_policy),
        ]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "kernel_initializer": self.kernel_initializer,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
        }
