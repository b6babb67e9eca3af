"""Two wrong versions of `kt.optimizers.Lookahead`, which the contracts of wrappers must find."""

import keras

from keras_tricks.optimizers import Lookahead
from keras_tricks.optimizers.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="keras_tricks_tests")
class FromZero(Lookahead):
    """Wrong: the slow weights start at zero, as every optimizer variable does without `add_copies`."""

    def build(self, variables):
        if not self.built:
            OptimizerWrapper.build(self, variables)
            self.slow = self.add_optimizer_variables(variables, "slow")


class InStep(Lookahead):
    """Wrong: counts the batches in `step`, although accumulation leaves out updates."""

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.batches = self.add_variable((), dtype="int32", name="batches")

    def after_update(self, variables):
        pass

    def step(self, gradients, variables):
        ops = keras.ops
        due = ops.equal(self.batches % self.sync_period, 0)
        old, weights = ([ops.copy(v) for v in group] for group in (self.slow, variables))
        slow = [ops.where(due, s + self.slow_step_size * (w - s), s) for s, w in zip(old, weights, strict=True)]
        fast = [ops.where(due, s, w) for s, w in zip(slow, weights, strict=True)]
        self.assign_all([*self.slow, *variables, self.batches], [*slow, *fast, self.batches + 1])
        return gradients, None
