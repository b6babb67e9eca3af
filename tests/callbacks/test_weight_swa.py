"""Stochastic weight averaging: the mean of the last epochs, and batch statistics by hand."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.callbacks import StochasticWeightAveraging, recompute_statistics
from keras_tricks.utils.errors import UserError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 4)).astype("float32"), RNG.normal(size=(32, 1)).astype("float32")
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 32, 8)]


def network(norm=keras.layers.BatchNormalization):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), norm(), keras.layers.Dense(1)])
    model.compile(kt.optimizers.SGD(0.05), "mse")
    return model


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append([np.array(keras.ops.convert_to_numpy(v)) for v in self.model.trainable_variables])


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def test_the_mean_over_the_last_epochs():
    model, seen = network(), Seen()
    model.fit(X, Y, 8, epochs=5, verbose=0, shuffle=False, callbacks=[seen, StochasticWeightAveraging(3, BATCHES)])
    expected = [np.mean(group, axis=0) for group in zip(*seen.weights[2:], strict=True)]
    for one, two in zip(values(model.trainable_variables), expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
    hidden = [np.asarray(model.layers[0](x)) for x, _ in BATCHES]
    mean, variance = values([model.layers[1].moving_mean, model.layers[1].moving_variance])
    np.testing.assert_allclose(mean, np.mean([h.mean(0) for h in hidden], axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, np.mean([h.var(0) for h in hidden], axis=0), rtol=1e-4)


@pytest.mark.parametrize("norm", [keras.layers.BatchNormalization, kt.layers.BatchNormalization,
                                  lambda: kt.layers.GhostBatchNormalization(4)], ids=["keras", "ours", "ghost"])
def test_new_statistics_change_nothing_else(norm):
    model = network(norm)
    before, momentum = values(model.trainable_variables), model.layers[1].momentum
    assert recompute_statistics(model, BATCHES) == 1
    assert model.layers[1].momentum == momentum
    for one, two in zip(values(model.trainable_variables), before, strict=True):
        np.testing.assert_array_equal(one, two)
    hidden = np.stack([np.asarray(model.layers[0](x)) for x, _ in BATCHES])
    np.testing.assert_allclose(values([model.layers[1].moving_mean])[0], hidden.mean((0, 1)), rtol=1e-4, atol=1e-6)


def test_without_batches_the_statistics_are_those_of_the_last_weights():
    plain, averaged = network(), network()
    plain.fit(X, Y, 8, epochs=3, verbose=0, shuffle=False)
    averaged.fit(X, Y, 8, epochs=3, verbose=0, shuffle=False, callbacks=[StochasticWeightAveraging(2)])
    one, two = (values([m.layers[1].moving_mean])[0] for m in (plain, averaged))
    np.testing.assert_array_equal(one, two)


def test_what_is_refused():
    for epochs in (0, 1.5):
        with pytest.raises(UserError, match="`epochs` .* integer >= 1"):
            StochasticWeightAveraging(epochs)
    with pytest.raises(UserError, match="averages 3 epochs, but `fit` has 2"):
        network().fit(X, Y, 8, epochs=2, verbose=0, callbacks=[StochasticWeightAveraging(3)])
    with pytest.raises(UserError, match="are empty"):
        recompute_statistics(network(), [])
