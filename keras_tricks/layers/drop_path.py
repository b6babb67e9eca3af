"""Stochastic depth (drop path): drops a residual branch for individual images.

Formula    y = x * keep / (1 - rate) in training, keep ~ Bernoulli(1 - rate), one draw per image; y = x otherwise
Paper      Huang et al. 2016, arXiv:1603.09382
Recipe     drop_path: model.options.drop_path_rate=0.1
Use when   training deep networks for long (ResNet-RS: 0.1 from 200 layers on; NFNets: 0.25)
Do not     use it in short runs or small networks: it slows the fit
Cost       one multiplication per residual branch; dropped branches are still computed
Differs    kept branches are divided by the keep rate (TPU ResNet-RS, timm); not in DeepMind's NFNets: `rescale=False`
Status     not reproduced in isolation
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class DropPath(keras.layers.Layer):
    """Sets the residual branch of an image to zero with probability `rate` in training.

    Args:
        rate: float in [0, 1), probability that a branch is dropped. Defaults to `0.0`: the layer does nothing.
        rescale: bool, whether to divide the kept branches by `1 - rate`. Defaults to `True`.
        seed: integer or `None`, seed of the layer's generator. Defaults to `None`.

    Call arguments: `inputs` of shape `(batch, ...)`; `training`.
    """

    def __init__(self, rate: float = 0.0, rescale: bool = True, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1), a probability of dropping. Received: rate={rate}")
        self.rate, self.rescale, self.seed = rate, rescale, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return inputs
        keep = 1.0 - self.rate
        shape = (keras.ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        mask = keras.ops.floor(keep + keras.random.uniform(shape, dtype="float32", seed=self.seed_generator))
        return inputs * keras.ops.cast(mask / keep if self.rescale else mask, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "rescale": self.rescale, "seed": self.seed}
