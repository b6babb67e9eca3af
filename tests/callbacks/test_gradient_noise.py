"""The measured noise scale: unbiased by the formula, and on a linear model whose noise is known."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.callbacks.gradient_noise import gradient_noise
from keras_tricks.utils.errors import UserError


def test_the_formula_inverts_the_expectations():
    power, noise = 0.7, 35.0
    small, large = (power + noise / batch for batch in (8, 64))
    assert gradient_noise(small, large, 8, 64) == pytest.approx((power, noise))


@pytest.mark.parametrize("sizes", [(8, 8), (0, 8), (16, 8)])
def test_sizes_in_the_wrong_order(sizes):
    with pytest.raises(UserError, match="0 < small < large"):
        gradient_noise(1.0, 1.0, *sizes)


def linear(seed=0):
    """A model `w x` with squared loss on noisy labels, and its data: the gradient of an image is 2 (w x - y) x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6400, 3)).astype("float32")
    y = (x @ np.array([[1.0], [-2.0], [0.5]]) + rng.normal(size=(6400, 1))).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, x, y


def test_a_linear_model_has_the_noise_of_its_images():
    model, x, y = linear()
    gradients = 2.0 * (0 - y.astype("float64")) * x
    meter = kt.callbacks.GradientNoiseScale(lambda: ((x[i:i + 64], y[i:i + 64]) for i in range(0, 6400, 64)))
    history = model.fit(x, y, batch_size=6400, epochs=2, verbose=0, callbacks=[meter])
    means = gradients.reshape(100, 64, 3).mean(axis=1)
    between = 64 * means.var(axis=0, ddof=1).sum()  # the noise of an image, from the spread of the batches
    assert meter.noise == pytest.approx(between, rel=1e-4)
    assert meter.power == pytest.approx((means.mean(axis=0) ** 2).sum() - between / 6400, rel=1e-4)
    assert meter.noise == pytest.approx(gradients.var(axis=0).sum(), rel=0.2)  # all images, one by one
    assert history.history["gradient_noise_scale"] == pytest.approx([meter.noise / meter.power] * 2, rel=1e-6)


def test_measuring_changes_nothing():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
                              keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    _, x, y = linear()
    meter = kt.callbacks.GradientNoiseScale(lambda: [(x[:8], y[:8]), (x[8:16], y[8:16])])
    meter.set_model(model)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    power, noise = meter.measure()
    assert np.isfinite([power, noise]).all()
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))


def test_its_averages_are_part_of_checkpoints():
    meter, other = (kt.callbacks.GradientNoiseScale(list) for _ in range(2))
    meter.measured, meter.power, meter.noise = 2, 0.5, 8.0
    other.set_state(meter.get_state())
    assert (other.measured, other.power, other.noise) == (2, 0.5, 8.0)


@pytest.mark.parametrize("sizes", [(), (8,), (8, 4)])
def test_batches_that_give_no_measure(sizes):
    model, x, y = linear()
    meter = kt.callbacks.GradientNoiseScale(lambda: [(x[:size], y[:size]) for size in sizes])
    meter.set_model(model)
    with pytest.raises(UserError, match="two batches or more of one size"):
        meter.measure()
