import keras
import numpy as np
import pytest

from keras_tricks.initializers import DiracInit


def convolved(filters):
    layer = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=DiracInit(seed=1))
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")
    return images, keras.ops.convert_to_numpy(layer(images)), keras.ops.convert_to_numpy(layer.kernel)


def test_the_first_filters_copy_the_channels():
    images, outputs, kernel = convolved(6)
    np.testing.assert_allclose(outputs[..., :4], images, atol=1e-6)
    rest = kernel[..., 4:]
    assert np.abs(rest).max() <= 1 / 6 and rest.std() == pytest.approx(1 / 6 / np.sqrt(3), rel=0.2)  # fan_in 36


def test_fewer_filters_than_channels():
    images, outputs, _ = convolved(3)
    np.testing.assert_allclose(outputs, images[..., :3], atol=1e-6)


def test_other_kernels_are_refused():
    with pytest.raises(ValueError, match="2-D convolutions"):
        DiracInit()((3, 4))
