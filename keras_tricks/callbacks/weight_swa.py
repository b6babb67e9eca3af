"""Stochastic weight averaging (SWA): the mean of the weights after each of the last epochs, with new batch statistics.

Formula    w = (w_1 + ... + w_k) / k, after each of the last k epochs; moving means and variances of batch normalization
           are then the means over a pass through `batches`
Paper      Izmailov et al. 2018, arXiv:1803.05407
Recipe     weight_swa: optimizer.swa_epochs=5
Use when   the learning rate is constant or cyclical at the end
Do not     average while the rate still decays fast: `WeightEMA` forgets early weights, SWA does not
Cost       one copy of the weights, and the forward passes over `batches` at the end; in a recipe after each evaluated
           epoch of the average
Differs    nothing; the authors' code recomputes the statistics over one epoch of the training data, which `batches`
           may be. Keras' callback `SwapEMAWeights` averages exponentially and leaves the statistics as they are
Status     equal to the formula (tests/callbacks); a recipe's run stands for its average (tests/test_average.py)
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_tricks.callbacks.weight_ema import WeightEMA
from keras_tricks.losses import trained_network
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import every_layer
from keras_tricks.utils.types import Logs


def recompute_statistics(model: keras.Model, batches: Iterable[Any]) -> int:
    """Sets the moving statistics of all batch-normalization layers to the means over batches. Changes no other weight.

    Args:
        model: built `keras.Model`, on one device.
        batches: iterable of images, `(images, labels)` or `(images, labels, weights)`, of equal size.

    Returns:
        The number of layers.

    Raises:
        UserError: there are no batches.
    """
    layers = [layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization)]
    moving = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    momenta, means, count = [layer.momentum for layer in layers], [0.0] * len(moving), 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # the moving statistics are then those of the batch
        for batch in batches if layers else ():
            model(keras.utils.unpack_x_y_sample_weight(batch)[0], training=True)
            count += 1
            values = [np.array(keras.ops.convert_to_numpy(v), "float64") for v in moving]
            means = [mean + (value - mean) / count for mean, value in zip(means, values, strict=True)]
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if layers and not count:
        raise UserError("The batches for new batch statistics are empty: give at least one.")
    for variable, mean in zip(moving, means, strict=True):
        variable.assign(mean.astype("float32"))
    return len(layers)


class StochasticWeightAveraging(keras.callbacks.Callback):
    """Gives the model the mean of its weights over the last epochs, at the end of `fit`.

    Args:
        epochs: integer > 0, last epochs of `fit` after each of which the weights are taken.
        batches: as for `recompute_statistics`, for a model with batch normalization. Defaults to `None`: the statistics
            remain those of the last weights.

    Raises:
        UserError: `epochs` is not a positive integer or, in `fit`, more than its epochs.
    """

    def __init__(self, epochs: int, batches: Iterable[Any] | None = None) -> None:
        super().__init__()
        if int(epochs) != epochs or epochs < 1:
            raise UserError(f"`epochs` of StochasticWeightAveraging must be an integer >= 1. Received: {epochs}")
        self.epochs, self.batches = int(epochs), batches
        self.taken, self.means = 0, []

    def on_train_begin(self, logs: Logs = None) -> None:
        total = self.params["epochs"]
        if self.epochs > total:
            raise UserError(f"StochasticWeightAveraging averages {self.epochs} epochs, but `fit` has {total}.")
        self.taken, self.means = 0, []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if epoch < self.params["epochs"] - self.epochs:
            return
        self.taken += 1
        weights = [np.array(keras.ops.convert_to_numpy(v), "float64") for v in self._variables()]
        self.means = [mean + (w - mean) / self.taken for mean, w in zip(self.means or weights, weights, strict=True)]

    def on_train_end(self, logs: Logs = None) -> None:
        for variable, mean in zip(self._variables() if self.means else (), self.means, strict=True):
            variable.assign(mean.astype("float32"))
        if self.batches is not None and self.means:
            recompute_statistics(trained_network(self.model), self.batches)

    def _variables(self):
        return trained_network(self.model).trainable_variables


class EpochAverage(WeightEMA):
    """The average of a recipe's run (`optimizer.swa_epochs`): part of its checkpoints, evaluated after each epoch.

    Before the first averaged epoch the average is the weights, and is not evaluated. Training is not changed: weights,
    statistics and random states of the model are afterwards what they were.

    Args:
        epochs: integer > 0, last epochs of the run after each of which the weights are taken.
        total: integer >= `epochs`, epochs of the run.
        batches: function of an epoch that returns what `recompute_statistics` takes.
        validation_data, evaluate_every: as for `WeightEMA`.

    Raises:
        UserError: `epochs` is not in 1 to `total`.
    """

    def __init__(self, epochs: int, total: int, batches: Callable[[int], Iterable[Any]], validation_data: Any = None,
                 evaluate_every: int = 1) -> None:
        super().__init__(0.0, validation_data, evaluate_every)
        if not 1 <= epochs <= total:
            raise UserError(f"`epochs` of EpochAverage must be 1 to {total}, the epochs of the run. Received: {epochs}")
        self.epochs, self.total, self.batches = epochs, total, batches

    def on_train_begin(self, logs: Logs = None) -> None:
        self.build(self.model)

    def start(self) -> None:
        """Restarts the average: no epoch is taken yet."""
        self._follow()

    def build(self, model: keras.Model) -> None:
        built = bool(self.averages)
        super().build(model)
        if not built:
            self._follow()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Nothing: the average changes between epochs."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        before = epoch - (self.total - self.epochs)  # epochs that the average should have
        if before < 0:
            self._follow()
            return
        # `last` counts the epochs taken. A run resumed with another recipe may bring another average: start again.
        taken = before + 1 if int(keras.ops.convert_to_numpy(self.last)) == before else 1
        network = trained_network(self.model)
        trained = {id(v) for v in network.trainable_variables}
        for average, source in zip(self.averages, self.sources, strict=True):
            old, new = (np.array(keras.ops.convert_to_numpy(v), "float64") for v in (average, source))
            value = old + (new - old) / taken if id(source) in trained and taken > 1 else new
            average.assign(value.astype("float32"))
        self.last.assign(np.asarray(taken))
        evaluates = (epoch + 1) % self.evaluate_every == 0
        if evaluates or epoch + 1 == self.total:
            self._recompute(network, epoch)
        if evaluates:
            super().on_epoch_end(epoch, logs)

    def _recompute(self, network, epoch):
        """Replaces the statistics in the average."""
        others = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in network.non_trainable_variables]
        with self.swapped():
            recompute_statistics(network, self.batches(epoch))
            found = [np.array(keras.ops.convert_to_numpy(v)) for v in self.sources]
        for variable, value in others:
            variable.assign(value)  # also the state of random layers
        for average, value in zip(self.averages, found, strict=True):
            average.assign(value)

    def _follow(self):
        for average, source in zip(self.averages, self.sources, strict=True):
            average.assign(np.array(keras.ops.convert_to_numpy(source)))
        self.last.assign(np.asarray(0))
