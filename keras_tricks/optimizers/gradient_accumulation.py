"""Gradient accumulation: one update from the average gradient of several batches.

Formula    g = (g_1 + ... + g_steps) / steps, then one update
Paper      none; the large batch of any paper on a device that cannot hold it
Recipe     gradient_accumulation: optimizer.accumulation_steps=4
Use when   the batch does not fit, on any number of replicas
Do not     expect batch statistics of the large batch: batch normalization sees each small one
Cost       one variable per weight; the sum over replicas happens at every batch, not once per update
Differs    from Keras' `gradient_accumulation_steps`: works under a strategy (Keras fails), and schedules, `iterations`
           and averages advance once per update (Keras' schedules and averages advance per batch)
Status     equal to the large batch without batch statistics (tests/optimizers, tests/contracts)
"""

import keras

from keras_tricks.optimizers.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="keras_tricks")
class GradientAccumulation(OptimizerWrapper):
    """Hands the average gradient of every `steps` batches to `inner_optimizer`.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`.
        steps: integer >= 1, batches per update. May be set at any time, without a new trace; a sum under way is
            finished by the first batch that makes it complete.
        name: as in Keras.
    """

    def __init__(self, inner_optimizer, steps, name="GradientAccumulation"):
        super().__init__(inner_optimizer, name=name)
        self.variable = None
        self.steps = steps

    @property
    def steps(self):
        return self._steps if self.variable is None else int(keras.ops.convert_to_numpy(self.variable))

    @steps.setter
    def steps(self, steps):
        if int(steps) != steps or steps < 1:
            raise ValueError(f"`steps` must be an integer >= 1. Received: steps={steps}")
        self._steps = int(steps)
        if self.variable is not None:
            self.variable.assign(self._steps)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "gradient_sum")
        self.seen = self.add_variable((), dtype="int32", name="seen")
        self.variable = self.add_variable((), keras.initializers.Constant(self.steps), dtype="int32", name="steps")

    def step(self, gradients, variables):
        ops = keras.ops
        totals = [s + ops.cast(0 if g is None else g, s.dtype) for s, g in zip(self.sums, gradients, strict=True)]
        seen = self.seen + 1
        last = seen >= self.variable
        keep = ops.cast(ops.logical_not(last), "int32")
        kept = [ops.where(last, ops.zeros_like(t), t) for t in totals]
        self.assign_all([*self.sums, self.seen], [*kept, seen * keep])
        count = ops.cast(seen, "float32")  # `steps` may have changed while the sum was under way
        averages = [None if g is None else t / ops.cast(count, t.dtype)
                    for t, g in zip(totals, gradients, strict=True)]
        return averages, last

    def get_config(self):
        return {**super().get_config(), "steps": self.steps}
