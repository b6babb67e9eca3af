"""Stochastic weight averaging (SWA): the mean of the weights after each of the last epochs, with new batch statistics.

Formula    w = (w_1 + ... + w_k) / k, after each of the last k epochs; moving means and variances of batch normalization
           are then the means over a pass through `batches`
Paper      Izmailov et al. 2018, arXiv:1803.05407
Recipe     none: for your own `fit`
Use when   the learning rate is constant or cyclical at the end
Do not     average while the rate still decays fast: `WeightEMA` forgets early weights, SWA does not
Cost       one copy of the weights on the host, and the forward passes over `batches` at the end
Differs    nothing; the authors' code recomputes the statistics over one epoch of the training data, which `batches`
           may be. Keras' callback `SwapEMAWeights` averages exponentially and leaves the statistics as they are
Status     equal to the formula (tests/callbacks)
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

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
