"""Gradient accumulation: one update from the average gradient of several batches.

Formula    g = (g_1 + ... + g_steps) / steps, then one update
Paper      none; it gives the large batch of any paper on a device that cannot hold it
Recipe     gradient_accumulation: optimizer.accumulation_steps=4
Use when   the batch does not fit in memory, on any number of replicas
Do not     expect batch statistics of the large batch: batch normalization sees each small batch
Cost       one variable per weight; gradients are summed over replicas at every batch, not once per update
Differs    from Keras' `gradient_accumulation_steps`: works under a strategy (Keras fails); schedules, `iterations` and
           averages advance once per update (Keras' schedules and averages advance per batch)
Status     equal to the large batch without batch statistics (tests/optimizers, tests/contracts)
"""

import warnings
from typing import Any

import keras

from keras_tricks.optimizers.wrapper import OptimizerWrapper, find_wrapper, innermost
from keras_tricks.utils.errors import UserError


@keras.saving.register_keras_serializable(package="keras_tricks")
class GradientAccumulation(OptimizerWrapper):
    """Passes the average gradient of every `steps` batches to `inner_optimizer`.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`.
        steps: integer >= 1, batches per update. It can be set at any time without retracing; an unfinished sum ends
            with the first batch that completes it.
        name: as in Keras.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, steps: int,
                 name: str | None = "GradientAccumulation") -> None:
        super().__init__(inner_optimizer, name=name)
        if find_wrapper(self.inner_optimizer, GradientAccumulation):
            raise UserError("GradientAccumulation(GradientAccumulation(...)) multiplies both `steps`: wrap the "
                            "optimizer once, with their product.")
        if innermost(self).gradient_accumulation_steps:
            raise UserError("GradientAccumulation around an optimizer with `gradient_accumulation_steps` accumulates "
                            "twice: leave that argument out.")
        self.variable = None
        self.steps = steps

    @property
    def steps(self) -> int:
        return self._steps if self.variable is None else int(keras.ops.convert_to_numpy(self.variable))

    @steps.setter
    def steps(self, steps: int) -> int:
        if int(steps) != steps or steps < 1:
            raise ValueError(f"`steps` must be an integer >= 1. Received: steps={steps}")
        self._steps = int(steps)
        if self.variable is not None:
            self.variable.assign(self._steps)

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "gradient_sum")
        self.seen = self.add_variable((), dtype="int32", name="seen")
        self.variable = self.add_variable((), keras.initializers.Constant(self.steps), dtype="int32", name="steps")

    def step(self, gradients: list[Any], variables: list[Any]) -> tuple[list[Any], Any]:
        ops = keras.ops
        totals = [s + ops.cast(0 if g is None else g, s.dtype) for s, g in zip(self.sums, gradients, strict=True)]
        seen = self.seen + 1
        last = seen >= self.variable
        keep = ops.cast(ops.logical_not(last), "int32")
        kept = [ops.where(last, ops.zeros_like(t), t) for t in totals]
        self.assign_all([*self.sums, self.seen], [*kept, seen * keep])
        count = ops.cast(seen, "float32")  # `steps` may have changed since the sum was started
        averages = [None if g is None else t / ops.cast(count, t.dtype)
                    for t, g in zip(totals, gradients, strict=True)]
        return averages, last

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Warns at the end of `fit` about batches that changed no weight: they are fewer than an update needs."""
        super().finalize_variable_values(var_list)
        seen = int(keras.ops.convert_to_numpy(self.seen)) if self.built else 0
        if seen:
            warnings.warn(f"GradientAccumulation: the last {seen} batches of `fit` changed no weight, because an "
                          f"update takes {self.steps} batches. They count toward the first update of the next `fit`. "
                          "Use a number of batches per epoch that `steps` divides.", stacklevel=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps}
