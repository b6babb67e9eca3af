"""The deep stem of ResNet-C and -D: three 3x3 convolutions in place of one 7x7.

Formula    conv3x3/2 (32) - BN - act - conv3x3 (32) - BN - act - conv3x3 (64) - BN - act
Paper      He et al. 2018, arXiv:1812.01187, figure 2b (ResNet-C); first used in Inception-v2
Recipe     resnet_c: model.name=resnet50c
Use when   images have about 224 pixels; the stem alone adds 0.2 % accuracy (ResNet-B to C, paper table 5)
Do not     use it on 32-pixel images: with the max-pool after it, it halves the resolution twice; use `stem="cifar"`
Cost       19,232 parameters and 0.24 G multiply-adds (at 224 pixels) more than the 7x7 stem
Differs    the paper's text suggests stride 2 in two convolutions; only the first has it, as in all code
Status     in the C and D recipes of `bag_of_tricks/`; ImageNet results not reproduced here
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers.batch_normalization import BatchNormalization
from keras_tricks.layers.chain import Chain
from keras_tricks.layers.convolution import convolution
from keras_tricks.utils.types import Activation, Initializer


@keras.saving.register_keras_serializable(package="keras_tricks")
class DeepStem(Chain):
    """Three 3x3 convolutions, the first with stride 2, each followed by batch normalization and an activation.

    Args:
        filters: three integers > 0, the output channels. Defaults to `(32, 32, 64)` (paper; timm's "t": 24, 32, 64).
        activation: Keras activation. Defaults to `"relu"`.
        kernel_initializer: Keras initializer identifier. Defaults to `None`: He normal over fan-out.
        epsilon: float, epsilon of the batch normalization. Defaults to `1e-5`.
        momentum: float in [0, 1], weight of the old moving statistics. Defaults to `0.9`.
        synchronized: bool, whether batch statistics cover all replicas. Defaults to `False`.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / 2), ceil(width / 2), filters[2])`.
    """

    def __init__(self, filters: Sequence[int] = (32, 32, 64), activation: Activation = "relu",
                 kernel_initializer: Initializer = None, epsilon: float = 1e-5, momentum: float = 0.9,
                 synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(filters) != 3:
            raise ValueError(f"`filters` must be three integers, one per convolution. Received: filters={filters}")
        self.filters = tuple(filters)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = kernel_initializer
        self.epsilon, self.momentum, self.synchronized = epsilon, momentum, synchronized
        self.layers = []
        for i, (width, strides) in enumerate(zip(self.filters, (2, 1, 1), strict=True), start=1):
            self.layers += [
                *convolution(width, 3, strides, kernel_initializer, name=f"conv{i}", dtype=self.dtype_policy),
                BatchNormalization(momentum=momentum, epsilon=epsilon, synchronized=synchronized, name=f"bn{i}",
                                   dtype=self.dtype_policy),
                keras.layers.Activation(self.activation, name=f"act{i}", dtype=self.dtype_policy),
            ]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": self.kernel_initializer,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
        }
