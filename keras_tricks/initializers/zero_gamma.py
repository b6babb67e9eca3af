"""Zero gamma: residual blocks start as the identity.

Formula    gamma of the last batch normalization of each residual branch <- 0 at initialization
Paper      He et al. 2018, arXiv:1812.01187, section 3.1; Goyal et al. 2017, arXiv:1706.02677, section 5.1
Recipe     zero_gamma: model.zero_gamma=true
Use when   large batches (1024 and more): the network trains like a shallower one in the first epochs
Do not     on the stem's, the shortcut's or any other batch normalization: only the last one of a branch
Cost       none
Differs    nothing
Status     `zero_gamma=True` of the zoo's ResNets; `kt.surgery.zero_gamma` for the model you already have. Reproduced at
           batch 512 on small images (docs/results/ablation, n = 3)
"""

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class ZeroGammaInit(keras.initializers.Initializer):
    """Zeros, for `BatchNormalization(gamma_initializer=ZeroGammaInit())` at the end of a residual branch.

    The name says in the saved model and in the code why the gamma is zero.
    """

    def __call__(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype=dtype or keras.config.floatx())
