"""Dirac initialization: the first filters of a convolution start as the identity.

Formula    filter i < min(in, out): 1 at the centre of channel i, else 0; other filters ~ U(-b, b), b = 1/sqrt(fan_in)
Paper      Zagoruyko & Komodakis 2017, arXiv:1706.00388; Jordan 2024, arXiv:2404.00498, section 3.2
Recipe     none: in the networks `airbench*`
Use when   a network without shortcuts is trained for few epochs
Do not     use it in a residual branch, which should start near 0
Cost       none
Differs    nothing from airbench: `torch.nn.init.dirac_` on the first filters, torch's default for the rest
Status     in `airbench94`
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def dirac_kernel(shape: Sequence[int]) -> np.ndarray:
    """Kernel `(height, width, in, out)` whose first filters copy the channels; the others are 0."""
    kernel = np.zeros(shape, "float32")
    for i in range(min(shape[2], shape[3])):
        kernel[shape[0] // 2, shape[1] // 2, i, i] = 1.0
    return kernel


@keras.saving.register_keras_serializable(package="keras_tricks")
class DiracInit(keras.initializers.Initializer):
    """Identity for the first `in` filters of a 2-D convolution, uniform random numbers for the others.

    Args:
        seed: integer or `None`. Defaults to `None`.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        if len(shape) != 4:
            raise ValueError(f"DiracInit is for kernels of 2-D convolutions. Received: shape={tuple(shape)}")
        dtype = dtype or keras.config.floatx()
        bound = 1.0 / math.sqrt(math.prod(shape[:3]))
        rest = keras.random.uniform(shape, -bound, bound, dtype, seed=self.seed)
        is_first = np.arange(shape[3]) < shape[2]
        return keras.ops.where(is_first, keras.ops.cast(dirac_kernel(shape), dtype), rest)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}
