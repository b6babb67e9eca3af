"""Zero gamma: makes every residual block start as the identity.

Formula    gamma of the last batch normalization of each residual branch <- 0 at initialization
Paper      He et al. 2018, arXiv:1812.01187, section 3.1; Goyal et al. 2017, arXiv:1706.02677, section 5.1
Recipe     zero_gamma: model.zero_gamma=true
Use when   batches are large (1024 and more): the network trains like a shallower one in the first epochs
Do not     use it for any other batch normalization, such as the stem's or the shortcut's: only the last of a branch
Cost       none
Differs    nothing
Status     `zero_gamma=True` in the zoo's ResNets; `kt.surgery.zero_gamma` for an existing model. Reproduced at batch
           512 on small images (docs/results/ablation, n = 3)
"""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class ZeroGammaInit(keras.initializers.Initializer):
    """Zeros, for `BatchNormalization(gamma_initializer=ZeroGammaInit())` at the end of a residual branch.

    Its name documents, in the code and in a saved model, why the gamma is zero.
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return keras.ops.zeros(shape, dtype=dtype or keras.config.floatx())
