"""Lookahead: slow weights follow the weights of any optimizer, which return to them every few updates.

Formula    every `sync_period` updates: s <- s + slow_step_size * (w - s), w <- s;  s starts at the initial weights
Paper      Zhang et al. 2019, arXiv:1907.08610
Recipe     lookahead: optimizer.lookahead_steps=6
Use when   an optimizer oscillates: high learning rates, short trainings
Do not     evaluate between two synchronizations without need: use a number of updates that `sync_period` divides
Cost       one copy of the weights, and one pass over both per update
Differs    nothing from `tfa.optimizers.Lookahead`, equal over 50 updates; works with replicas, accumulation, AGC and
           loss scales. airbench (arXiv:2404.00498) raises the share during training and includes batch statistics
Status     not measured here
"""

from typing import Any

import keras

from keras_tricks.optimizers.wrapper import OptimizerWrapper
from keras_tricks.utils.errors import UserError


def lookahead(slow: Any, weight: Any, slow_step_size: float) -> Any:
    """The slow weight after a synchronization: the share `slow_step_size` of the way from `slow` to `weight`."""
    return slow + slow_step_size * (weight - slow)


@keras.saving.register_keras_serializable(package="keras_tricks")
class Lookahead(OptimizerWrapper):
    """Sets the weights back to slow weights, which follow them, after every `sync_period` updates.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, for instance `kt.optimizers.SGD(...)`.
        sync_period: integer >= 1, updates between synchronizations. Defaults to `6` (TensorFlow Addons).
        slow_step_size: float in (0, 1], share of the way to the weights. Defaults to `0.5` (paper).
        name: as in Keras.

    `slow` are the slow weights. Write `GradientAccumulation(Lookahead(AGC(SGD(...))), steps)`.

    Raises:
        UserError: `sync_period` or `slow_step_size` is out of range.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, sync_period: int = 6, slow_step_size: float = 0.5,
                 name: str | None = "Lookahead") -> None:
        super().__init__(inner_optimizer, name=name)
        if int(sync_period) != sync_period or sync_period < 1:
            raise UserError(f"`sync_period` must be an integer >= 1. Received: {sync_period}")
        if not 0 < slow_step_size <= 1:
            raise UserError(f"`slow_step_size` must be in (0, 1]. Received: {slow_step_size}")
        self.sync_period, self.slow_step_size = int(sync_period), slow_step_size
        self.slow = []

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.slow = self.add_copies(variables, "slow")

    def after_update(self, variables: list[Any]) -> None:
        ops = keras.ops
        due = ops.equal(self.iterations % self.sync_period, 0)
        old, weights = ([ops.copy(v) for v in group] for group in (self.slow, variables))
        slow = [ops.where(due, lookahead(s, w, self.slow_step_size), s) for s, w in zip(old, weights, strict=True)]
        fast = [ops.where(due, s, w) for s, w in zip(slow, weights, strict=True)]
        self.assign_all([*self.slow, *variables], [*slow, *fast])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sync_period": self.sync_period, "slow_step_size": self.slow_step_size}
