"""Test-time augmentation: the six views of airbench in NumPy."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 10, 3)).astype("float32")


def network(shape=(8, 10, 3)):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), keras.layers.Conv2D(4, 3, activation="relu"),
                             keras.layers.Flatten() if None not in shape else keras.layers.GlobalMaxPooling2D(),
                             keras.layers.Dense(5)])


def by_numpy(model, images, translate):
    def mirrored(x):
        return 0.5 * np.asarray(model(x)) + 0.5 * np.asarray(model(x[:, :, ::-1]))

    if not translate:
        return mirrored(images)
    p, (height, width) = translate, images.shape[1:3]
    padded = np.pad(images, [(0, 0), (p, p), (p, p), (0, 0)], mode="reflect")
    moved = [mirrored(padded[:, :height, :width]), mirrored(padded[:, 2 * p :, 2 * p :])]
    return 0.5 * mirrored(images) + 0.25 * (moved[0] + moved[1])


@pytest.mark.parametrize("translate", [0, 1, 2])
def test_the_mean_over_the_views(translate):
    model = network()
    views = kt.surgery.test_time_augmentation(model, translate=translate)
    np.testing.assert_allclose(np.asarray(views(IMAGES)), by_numpy(model, IMAGES, translate), rtol=1e-5, atol=1e-6)
    assert len(views.variables) == len(model.variables)


def test_names_of_views():
    model = network()
    assert kt.surgery.with_views(model, "one") is model
    for name, translate in (("flip", 0), ("flip_translate", 1)):
        np.testing.assert_allclose(np.asarray(kt.surgery.with_views(model, name)(IMAGES)),
                                   by_numpy(model, IMAGES, translate), rtol=1e-5, atol=1e-6)


def test_it_survives_a_file(tmp_path):
    model = kt.surgery.test_time_augmentation(network(), translate=1)
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(np.asarray(keras.models.load_model(tmp_path / "m.keras")(IMAGES)),
                               np.asarray(model(IMAGES)), rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(UserError, match="known image size"):
        kt.surgery.test_time_augmentation(network((None, None, 3)), translate=1)
    with pytest.raises(UserError, match="one image and one output"):
        kt.surgery.test_time_augmentation(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
