"""The initializer of Fixup: residual networks that train without normalization and without rescaled activations.

Formula    std = sqrt(2 / (k * k * out)) * L^(-1 / (2m - 2)), L residual blocks of m convolutions each
Paper      Zhang et al. 2019, arXiv:1901.09321, section 3
Recipe     fixup: model.name=fixup_resnet50
Use when   for every convolution of a branch but the last, which starts at 0, as does the classifier
Do not     with batch normalization: it undoes the scale
Cost       none
Differs    nothing
Status     in `fixup_resnet50`
"""

import math

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class FixupInit(keras.initializers.Initializer):
    """Normal values with the standard deviation of Fixup.

    Args:
        num_blocks: integer > 0, residual blocks of the whole network (L).
        convolutions: integer > 1, convolutions of one block (m). Defaults to `3`, a bottleneck.
        seed: integer or `None`.
    """

    def __init__(self, num_blocks, convolutions=3, seed=None):
        if num_blocks < 1 or convolutions < 2:
            raise ValueError("Fixup needs `num_blocks` >= 1 and `convolutions` >= 2. "
                             f"Received: num_blocks={num_blocks}, convolutions={convolutions}")
        self.num_blocks, self.convolutions, self.seed = num_blocks, convolutions, seed

    def __call__(self, shape, dtype=None):
        he = math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1]))
        std = he * self.num_blocks ** (-1.0 / (2 * self.convolutions - 2))
        return keras.random.normal(shape, 0.0, std, dtype or keras.config.floatx(), seed=self.seed)

    def get_config(self):
        return {"num_blocks": self.num_blocks, "convolutions": self.convolutions, "seed": self.seed}
