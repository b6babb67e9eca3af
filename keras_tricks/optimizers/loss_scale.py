"""Dynamic loss scaling with an overflow check over all replicas.

Formula    loss * scale; a step whose global gradient is not finite is skipped and halves the scale;
           `dynamic_growth_steps` consecutive finite steps double it
Paper      Micikevicius et al. 2017, arXiv:1710.03740, section 3.2; He et al. 2018, arXiv:1812.01187, section 3.2
Recipe     mixed_float16: train.precision=mixed_float16; mixed_bfloat16: train.precision=mixed_bfloat16
Use when   training in mixed_float16, always; bfloat16 does not need it
Do not     put it inside another wrapper: it must be the outermost one
Cost       one check of the gradients for finite values
Differs    Keras' `LossScaleOptimizer` checks only the first replica: an overflow on any other reaches the weights
Status     an overflow on any of 4 replicas leaves the weights bit-identical (tests/contracts)
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.optimizers.combinations import check_clipping, check_not_built
from keras_tricks.optimizers.wrapper import OptimizerWrapper, disable_inner_reduction, innermost, sum_over_replicas
from keras_tricks.utils.errors import UserError


@keras.saving.register_keras_serializable(package="keras_tricks")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` on the gradient summed over all replicas and workers.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, for instance `AGC(SGD(...))`.
        initial_scale: float > 0. Defaults to `2.0**15`.
        dynamic_growth_steps: integer > 0, consecutive finite steps that double the scale. Defaults to `2000`.
        name: as in Keras.

    `dynamic_scale` is the current scale.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, initial_scale: float = 2.0**15,
                 dynamic_growth_steps: int = 2000, name: str | None = "LossScale", **kwargs: Any) -> None:
        super().__init__(inner_optimizer, initial_scale, dynamic_growth_steps, name=name, **kwargs)
        disable_inner_reduction(self.inner_optimizer)
        if isinstance(self.inner_optimizer, OptimizerWrapper):
            self.inner_optimizer.check_finite = False  # the check here already covers every replica
        self.built_outermost = True

    def __setattr__(self, name, value):
        # Keras' LossScaleOptimizer sets this attribute on the optimizer it wraps; nothing else reveals it.
        if name == "loss_scale_factor" and getattr(self, "built_outermost", False):
            raise UserError("LossScale must be the outermost optimizer: leave out the LossScaleOptimizer around it.")
        super().__setattr__(name, value)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        check_clipping(innermost(self))
        super().apply(sum_over_replicas(list(grads)), trainable_variables)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "LossScale":
        return super().from_config(dict(config), custom_objects)

    def exclude_from_weight_decay(self, var_list: Sequence[Any] | None = None,
                                  var_names: Sequence[str] | None = None) -> None:
        check_not_built(innermost(self))
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)
