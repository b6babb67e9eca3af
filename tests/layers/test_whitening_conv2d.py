"""Whitening from images: decorrelated outputs, a kernel that is not trained, and too few images."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.layers import WhiteningConv2D, whitening_kernel
from keras_tricks.utils.errors import UserError

RNG = np.random.default_rng(0)
# Neighbouring pixels and channels are correlated, as in photographs.
NOISE = RNG.normal(size=(60, 12, 12, 3))
IMAGES = (NOISE + np.roll(NOISE, 1, 1) + np.roll(NOISE, 1, 2) + NOISE.mean(-1, keepdims=True)).astype("float32")


def test_outputs_are_decorrelated_and_in_pairs():
    layer = WhiteningConv2D()
    layer.build(IMAGES.shape)
    layer.whiten(IMAGES)
    outputs = keras.ops.convert_to_numpy(layer(IMAGES)).reshape(-1, 24).astype("float64")
    np.testing.assert_allclose(outputs[:, 12:], -outputs[:, :12], atol=1e-5)
    moments = outputs[:, :12].T @ outputs[:, :12] / len(outputs)
    np.testing.assert_allclose(moments, np.eye(12), atol=0.02)  # eps moves the diagonal a little


def test_filters_are_eigenvectors_of_the_patches():
    patches = np.lib.stride_tricks.sliding_window_view(IMAGES.astype("float64"), (2, 2), axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)  # row, column, channel
    covariance = patches.T @ patches / len(patches)
    for vector in whitening_kernel(IMAGES).reshape(12, 24).T[:12].astype("float64"):
        value = vector @ covariance @ vector / (vector @ vector)
        np.testing.assert_allclose(covariance @ vector, value * vector, rtol=1e-3, atol=1e-4)
        assert np.linalg.norm(vector) == pytest.approx(1 / np.sqrt(value + 5e-4), rel=1e-4)


def test_the_kernel_is_not_trained_and_survives_a_file(tmp_path):
    model = kt.models.create_model("test_airbench", input_shape=(26, 26, 3), classes=3)
    images = RNG.normal(size=(8, 26, 26, 3)).astype("float32")
    assert kt.surgery.whiten(model, lambda: images) == 1
    layer = model.get_layer("whiten")
    before = keras.ops.convert_to_numpy(layer.kernel).copy()
    assert [v.name for v in layer.trainable_variables] == ["bias"]
    model.trainable = False
    model.trainable = True
    model.compile(kt.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(images, np.arange(8) % 3, verbose=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), before)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").get_layer("whiten")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again.kernel), before)
    assert [v.name for v in again.trainable_variables] == ["bias"]


def test_too_few_images_and_a_wrong_number_of_filters():
    with pytest.raises(UserError, match="at least 12 patches of 2 x 2 pixels. Received: 8, of 2 images of 3 x 3"):
        whitening_kernel(IMAGES[:2, :3, :3])
    layer = WhiteningConv2D(10)
    layer.build(IMAGES.shape)
    with pytest.raises(UserError, match="`filters` of .* must be 24"):
        layer.whiten(IMAGES)


def test_a_model_without_the_layer_needs_no_images():
    assert kt.surgery.whiten(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), None) == 0
