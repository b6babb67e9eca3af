"""Convolution with plain weight standardization, for networks that keep their normalization.

Formula    W' = (W - mean) / (std + eps), mean and std over the fan-in of an output channel
Paper      Qiao et al. 2019, arXiv:1903.10520
Recipe     none: for your own networks
Use when   batches are small and group normalization follows the convolution (micro-batch training)
Do not     build networks without normalization from it: the output grows with the fan-in, which
           `kt.layers.ScaledWSConv2D` corrects
Cost       as `ScaledWSConv2D`
Differs    biased standard deviation, as in TensorFlow code; the authors' PyTorch code divides by N - 1
Status     not reproduced in isolation
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers.grouped_conv2d import add_bias, grouped_convolution
from keras_tricks.ops.standardize_kernel import divide_by_std


@keras.saving.register_keras_serializable(package="keras_tricks")
class WSConv2D(keras.layers.Conv2D):
    """2-D convolution whose kernel is standardized at every call, in float32.

    Args:
        filters, kernel_size, strides, padding, groups, use_bias, ...: as `keras.layers.Conv2D`.
        eps: float >= 0, added to the standard deviation. Defaults to `1e-5`.

    Input shape: `(batch, height, width, channels)`. Output shape: as `keras.layers.Conv2D`.
    """

    def __init__(self, filters: int, kernel_size: int | Sequence[int], strides: int | Sequence[int] = (1, 1),
                 padding: str = "valid", groups: int = 1, use_bias: bool = True, eps: float = 1e-5,
                 **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, strides, padding, groups=groups, use_bias=use_bias, **kwargs)
        self.eps = eps

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras', but reads the kernel in float32, which the statistics need."""
        return super().add_weight(*args, **{**kwargs, "autocast": kwargs.get("name") == "bias"})

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        kernel = keras.ops.cast(self.standardized_kernel(), self.compute_dtype)
        return grouped_convolution(super().convolution_op, inputs, kernel, self)

    def call(self, inputs: Any) -> Any:
        return add_bias(self, self.convolution_op(inputs, self.kernel))

    def standardized_kernel(self) -> Any:
        """The standardized kernel, float32 `(height, width, in / groups, out)`."""
        return divide_by_std(keras.ops.convert_to_tensor(self.kernel), self.eps)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}
