"""Checks during `fit` for callbacks that set the learning rate: the batch size, and other callbacks that set the rate.

A callback does not receive data. Keras weights the loss of each batch by its number of examples, so the metric `loss`
counts them on every backend.
"""

import keras
import numpy as np

from keras_tricks.utils.errors import UserError


def examples_seen(model):
    """Examples in the finished batches of this epoch, over all replicas; `None` if the model does not count them."""
    for metric in getattr(model, "metrics", ()):
        if isinstance(metric, keras.metrics.Mean) and metric.name == "loss":
            return float(keras.ops.convert_to_numpy(metric.count))
    return None


class BatchSize:
    """Measures the size of the batches of one call of the train function."""

    def __init__(self):
        self.before = None

    def begin(self, model):
        """Call it at the start of a batch."""
        self.before = examples_seen(model)

    def measure(self, model):
        """Examples of a batch, over all replicas; `None` if the model does not count them. Call it at its end."""
        after = examples_seen(model)
        if None in (self.before, after) or after == self.before:
            return None
        size = (after - self.before) / getattr(model, "steps_per_execution", 1)
        return int(size) if size == int(size) else size


class LearningRate:
    """Sets the learning rate of an optimizer and detects whether another callback also sets it.

    Args:
        owner: name of the callback that sets it.
        follows: bool, whether another callback may multiply the rate after an epoch, as `ReduceLROnPlateau` does.
            Otherwise that is an error.

    `scale` is the product of these factors.
    """

    def __init__(self, owner, follows=False):
        self.owner, self.follows, self.scale = owner, follows, 1.0
        self.begin()

    def begin(self):
        """Call it when `fit` begins."""
        self.assigned = self.used = None

    def assign(self, state, rate):
        """Sets the rate of the next step.

        Args:
            state: `distribution.StepState` of the callback.
            rate: float.

        Raises:
            UserError: the optimizer has a schedule, whose rate cannot be set.
        """
        # A NumPy number, because TensorFlow 2.21 caches a tensor for every Python number it receives.
        self.assigned = np.float32(rate * self.scale)
        variable = state.optimizer.learning_rate
        if isinstance(variable, keras.Variable):
            state.set_for_next_step(variable, self.assigned)
            return
        try:
            state.optimizer.learning_rate = self.assigned
        except TypeError:
            raise UserError(f"{self.owner} sets the learning rate, but the optimizer has a `LearningRateSchedule`: "
                            f"leave out {self.owner}, or create the optimizer with a number.") from None

    def done(self):
        """Call it at the end of every batch: JAX begins one more batch than there are."""
        self.used = self.assigned

    def scale_now(self, optimizer):
        """The scale, with the change since the last batch."""
        rate = np.float32(keras.ops.convert_to_numpy(optimizer.learning_rate))
        return self.scale if self.used is None or rate == self.used else self.scale * float(rate) / float(self.used)

    def check(self, optimizer):
        """Raises a `UserError` if the rate is no longer that of the last batch; or follows that change."""
        if self.used is None:
            return
        rate = np.float32(keras.ops.convert_to_numpy(optimizer.learning_rate))
        if rate != self.used and self.follows:
            self.scale, self.used = self.scale_now(optimizer), rate
        elif rate != self.used:
            raise UserError(f"{self.owner} set the learning rate to {self.used:g}, but another callback set it to "
                            f"{rate:g}: use only one callback that sets the learning rate.")
