"""Stochastic depth (drop path): drops a residual branch for single images.

Formula    y = x * keep / (1 - rate) while training, keep ~ Bernoulli(1 - rate), one coin per image; y = x otherwise
Paper      Huang et al. 2016, arXiv:1603.09382
Recipe     drop_path: model.options.drop_path_rate=0.1
Use when   long training of deep networks (ResNet-RS: 0.1 from 200 layers on; NFNets: 0.25)
Do not     on short runs or small networks: it slows the fit
Cost       one multiplication per residual branch; branches are computed and then dropped
Differs    survivors are divided by the keep rate (TPU ResNet-RS, timm). DeepMind's NFNets do not: `rescale=False`
Status     not reproduced on its own
"""

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class DropPath(keras.layers.Layer):
    """Sets the residual branch of an image to zero with probability `rate`, while training.

    Args:
        rate: float in [0, 1), probability that a branch is dropped. Defaults to `0.0`: the layer does nothing.
        rescale: bool, divide the survivors by `1 - rate`. Defaults to `True`.
        seed: integer or `None`, of the layer's own generator.

    Call arguments: `inputs` of shape `(batch, ...)`; `training`.
    """

    def __init__(self, rate=0.0, rescale=True, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` is a probability of dropping, in [0, 1). Received: rate={rate}")
        self.rate, self.rescale, self.seed = rate, rescale, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return inputs
        keep = 1.0 - self.rate
        coins = (keras.ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        mask = keras.ops.floor(keep + keras.random.uniform(coins, dtype="float32", seed=self.seed_generator))
        return inputs * keras.ops.cast(mask / keep if self.rescale else mask, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "rescale": self.rescale, "seed": self.seed}
