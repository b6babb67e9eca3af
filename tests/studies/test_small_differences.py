"""The sizes that docs/differences.md prints for small differences from the authors' code."""

import math
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tricks.callbacks.weight_ema import ema_decay
from keras_tricks.data.augment.mixing import cutmix
from keras_tricks.layers import BatchNormalization
from keras_tricks.recipe import load_recipe
from keras_tricks.run.build import plan_of_recipe

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "differences.md").read_text()


def test_boxes_of_cutmix_have_odd_sides_too():
    images, labels = tf.zeros([64, 33, 33, 1]), tf.one_hot(tf.range(64) % 2, 2)
    mixed, _ = cutmix(images, labels, 1.0, tf.constant([1, 2]), "sample", (images + 1, labels))
    sides = {int(n) for image in mixed.numpy() for n in image[..., 0].max(axis=0).sum(keepdims=True)}
    assert any(side % 2 for side in sides) and any(side % 2 == 0 for side in sides)


def test_the_area_that_odd_sides_add():
    size, share = 192, (np.arange(100_000) + 0.5) / 100_000
    sides = np.floor(size * np.sqrt(1 - share))
    more = ((sides / size) ** 2 - (2 * (sides // 2) / size) ** 2).mean()
    assert f"{more:.4f} more of the image" in TEXT


def test_the_share_of_the_initial_weights_in_an_average():
    decays = [float(keras.ops.convert_to_numpy(ema_decay(np.float32(t), 0.99999))) for t in range(101)]
    assert decays[0] == pytest.approx(0.1) and f"from t = 1: {decays[1]:.3f}" in TEXT
    assert math.prod(decays[1:]) < 1e-11 and math.prod(decays[:100]) < 1e-11


def test_the_moving_variance_is_biased():
    layer = BatchNormalization(momentum=0.0)
    x = np.random.default_rng(0).normal(size=(32, 5, 5, 4)).astype("float32")
    layer(x, training=True)
    kept = keras.ops.convert_to_numpy(layer.moving_variance)
    np.testing.assert_allclose(kept, x.var(axis=(0, 1, 2)), rtol=1e-5)
    unbiased = x.var(axis=(0, 1, 2), ddof=1)
    assert f"{100 * (unbiased / kept - 1).mean():.2f} % for the last stage" in TEXT  # 160 / 32 = 5 pixels


def test_the_updates_of_an_nfnet_run():
    images = 1_281_167
    ours = plan_of_recipe(load_recipe("nfnet/f0"), images, 1).updates
    theirs = int(360 * images / 4096)
    assert f"batches: {ours:,}" in TEXT and f"4096: {theirs:,}" in TEXT
    assert f"{100 * (1 - ours / theirs):.2f} % fewer" in TEXT
