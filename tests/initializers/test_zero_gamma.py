"""ZeroGammaInit: zeros, wherever Keras takes an initializer."""

import keras
import numpy as np

from keras_tricks.initializers import ZeroGammaInit
from keras_tricks.layers import BatchNormalization


def test_zeros_of_the_shape_and_dtype_asked_for():
    values = ZeroGammaInit()((3, 2), dtype="float16")
    assert values.dtype == "float16" and np.array_equal(values, np.zeros((3, 2)))
    assert ZeroGammaInit()((2,)).dtype == keras.config.floatx()


def test_a_normalization_starts_at_zero_and_can_leave_it():
    norm = BatchNormalization(gamma_initializer=ZeroGammaInit())
    assert not np.any(norm(np.random.default_rng(0).normal(size=(4, 2, 2, 3)), training=True))
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, norm(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(1).normal(size=(8, 2, 2, 3))
    model.fit(x, x, verbose=0)
    assert np.abs(norm.gamma.numpy()).min() > 0


def test_by_name():
    found = keras.initializers.get({"class_name": "keras_tricks>ZeroGammaInit", "config": {}})
    assert isinstance(found, ZeroGammaInit)
