"""SGD with momentum and coupled weight decay, as the papers use it.

Formula    d = g + weight_decay * w;  v <- momentum * v + d;  step = d + momentum * v if nesterov else v
           w <- w - learning_rate * step
Paper      Sutskever et al. 2013 (momentum); He et al. 2018, arXiv:1812.01187, section 2.1 (Nesterov, 1e-4)
Recipe     always on: the optimizer of every recipe, unless optimizer.name is adam
Use when   reproducing a recipe written for PyTorch, TF1, optax or MXNet
Do not     port `weight_decay` to `keras.optimizers.SGD`, where it is decoupled and multiplied by the learning rate,
           about 10 times weaker at momentum 0.9, and where the velocity contains old learning rates
Cost       one more multiplication per weight than Keras' SGD
Differs    nothing: equal to `torch.optim.SGD` over 50 steps with a changing learning rate (tests/optimizers)
Status     used by every recipe
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.optimizers.no_decay import is_exempt
from keras_tricks.optimizers.wrapper import variable_index
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import LearningRate


def sgd_step(weight, gradient, velocity, momentum, nesterov, weight_decay):
    """One update: the step to subtract, before the learning rate, and the new velocity (`None` without momentum)."""
    if weight_decay:
        gradient = gradient + weight_decay * weight
    if not momentum:
        return gradient, None
    velocity = momentum * velocity + gradient
    return (gradient + momentum * velocity if nesterov else velocity), velocity


@keras.saving.register_keras_serializable(package="keras_tricks")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with momentum and L2 weight decay inside the gradient.

    Args:
        learning_rate: float or `LearningRateSchedule`. Defaults to `0.01`.
        momentum: float in [0, 1). Defaults to `0.9`.
        nesterov: bool. Defaults to `True`.
        weight_decay: float >= 0 or `None`; `weight_decay * w` is added to the gradient before the momentum. Defaults to
            `None`.
        no_bias_decay: bool, whether to decay only tensors with two or more axes. Defaults to `False`.
        name, **kwargs: as in `keras.optimizers.Optimizer`.
    """

    def __init__(self, learning_rate: LearningRate = 0.01, momentum: float = 0.9, nesterov: bool = True,
                 weight_decay: float | None = None, no_bias_decay: bool = False, name: str | None = "SGD",
                 **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum}")
        if weight_decay is not None and weight_decay < 0:
            raise ValueError(f"`weight_decay` must be >= 0 or None. Received: weight_decay={weight_decay}")
        self.momentum, self.nesterov = float(momentum), nesterov
        self.coupled_weight_decay = weight_decay  # the base class would decouple `weight_decay`
        self.no_bias_decay = no_bias_decay
        self.velocities, self.decays = [], []

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        if self.momentum:
            self.velocities = self.add_optimizer_variables(variables, "velocity")
        exempt = {id(v) for v in variables if self.no_bias_decay and is_exempt(v)} | self._excluded(variables)
        self.decays = [0.0 if id(v) in exempt else self.coupled_weight_decay or 0.0 for v in variables]

    def exclude_from_weight_decay(self, var_list: Sequence[Any] | None = None,
                                  var_names: Sequence[str] | None = None) -> None:
        """Exempts variables, or those with one of `var_names` in their path, from weight decay. Call before `build`."""
        if self.built:
            raise UserError("`exclude_from_weight_decay()` must be called before the optimizer is built.")
        self.excluded_variables = list(var_list or [])
        self.excluded_names = list(var_names or [])

    def _excluded(self, variables):
        chosen = {id(v) for v in getattr(self, "excluded_variables", [])}
        if chosen and not chosen & {id(v) for v in variables}:
            raise UserError(f"`exclude_from_weight_decay` got {len(chosen)} variables, none of which this optimizer "
                            "updates: they are of another model.")
        names = getattr(self, "excluded_names", [])
        return chosen | {id(v) for v in variables if any(name in v.path for name in names)}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = variable_index(self, variable)
        cast = lambda x: keras.ops.cast(x, variable.dtype)  # noqa: E731
        velocity = self.velocities[index] if self.momentum else None
        step, new_velocity = sgd_step(
            cast(variable), cast(gradient), velocity, self.momentum, self.nesterov, self.decays[index]
        )
        if new_velocity is not None:
            self.assign(velocity, new_velocity)
        self.assign_sub(variable, cast(learning_rate) * step)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "weight_decay": self.coupled_weight_decay,
            "no_bias_decay": self.no_bias_decay,
        }
