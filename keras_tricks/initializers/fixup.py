"""Fixup initialization: trains residual networks without normalization and without rescaled activations.

Formula    std = sqrt(2 / (k * k * out)) * L^(-1 / (2m - 2)), L residual blocks of m convolutions each
Paper      Zhang et al. 2019, arXiv:1901.09321, section 3
Recipe     fixup: model.name=fixup_resnet50
Use when   initializing every convolution of a branch except the last; the last one and the classifier start at 0
Do not     combine it with batch normalization, which undoes the scale
Cost       none
Differs    nothing
Status     in `fixup_resnet50`
"""

import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class FixupInit(keras.initializers.Initializer):
    """Normal distribution with the standard deviation of Fixup.

    Args:
        num_blocks: integer > 0, residual blocks in the whole network (L).
        convolutions: integer > 1, convolutions in one block (m). Defaults to `3`, a bottleneck.
        seed: integer or `None`. Defaults to `None`.
    """

    def __init__(self, num_blocks: int, convolutions: int = 3, seed: int | None = None) -> None:
        if num_blocks < 1 or convolutions < 2:
            raise ValueError("Fixup needs `num_blocks` >= 1 and `convolutions` >= 2. "
                             f"Received: num_blocks={num_blocks}, convolutions={convolutions}")
        self.num_blocks, self.convolutions, self.seed = num_blocks, convolutions, seed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        he = math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1]))
        std = he * self.num_blocks ** (-1.0 / (2 * self.convolutions - 2))
        return keras.random.normal(shape, 0.0, std, dtype or keras.config.floatx(), seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"num_blocks": self.num_blocks, "convolutions": self.convolutions, "seed": self.seed}
