"""Lookahead (Zhang et al. 2019, arXiv:1907.08610), written by CONTRIBUTING's rules: a wrapper with state that starts at
the weights and acts after updates. It is not a trick of the package; the contracts need a wrapper of this kind."""

import keras

from keras_tricks.optimizers.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="keras_tricks_tests")
class Lookahead(OptimizerWrapper):
    """Every `period` updates the slow weights move `share` of the way to the weights, which go back to them."""

    def __init__(self, inner_optimizer, period=2, share=0.5, name="Lookahead"):
        super().__init__(inner_optimizer, name=name)
        self.period, self.share = period, share

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.slow = self.add_copies(variables, "slow")

    def after_update(self, variables):
        ops = keras.ops
        due = ops.equal(self.iterations % self.period, 0)
        old, weights = ([ops.copy(v) for v in group] for group in (self.slow, variables))
        slow = [ops.where(due, s + self.share * (w - s), s) for s, w in zip(old, weights, strict=True)]
        fast = [ops.where(due, s, w) for s, w in zip(slow, weights, strict=True)]
        self.assign_all([*self.slow, *variables], [*slow, *fast])

    def get_config(self):
        return {**super().get_config(), "period": self.period, "share": self.share}


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
        due = ops.equal(self.batches % self.period, 0)
        old, weights = ([ops.copy(v) for v in group] for group in (self.slow, variables))
        slow = [ops.where(due, s + self.share * (w - s), s) for s, w in zip(old, weights, strict=True)]
        fast = [ops.where(due, s, w) for s, w in zip(slow, weights, strict=True)]
        self.assign_all([*self.slow, *variables, self.batches], [*slow, *fast, self.batches + 1])
        return gradients, None
