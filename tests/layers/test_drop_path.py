"""Stochastic depth: rate, scaling, and when it is inactive."""

import numpy as np
import pytest

from keras_tricks.layers import DropPath

ROWS = 20_000


def dropped(rate=0.25, rows=ROWS, **kwargs):
    return np.asarray(DropPath(rate, seed=3, **kwargs)(np.ones((rows, 2, 1), "float32"), training=True))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.8])
def test_share_of_survivors_is_the_keep_rate(rate):
    kept = (dropped(rate)[:, 0, 0] != 0).mean()
    assert abs(kept - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / ROWS)


def test_one_coin_per_image():
    y = dropped()
    assert (y == y[:, :1]).all()
    assert set(np.unique(y[:, 0, 0] != 0)) == {False, True}


def test_kept_paths_are_rescaled_by_default():
    np.testing.assert_allclose(np.unique(dropped()), [0.0, 1 / 0.75], rtol=1e-6)
    assert np.unique(dropped(rescale=False)).tolist() == [0.0, 1.0]
    assert abs(dropped().mean() - 1.0) < 0.02


def test_seed():
    assert (dropped(rows=99) == dropped(rows=99)).all()
    layer, x = DropPath(0.5, seed=3), np.ones((99, 1), "float32")
    first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
    assert (first != second).any(), "every step needs fresh coins"
    assert (np.asarray(DropPath(0.5, seed=4)(x, training=True)) != first).any()


def test_identity_at_inference_and_at_rate_zero():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    np.testing.assert_array_equal(DropPath(0.9)(x, training=False), x)
    np.testing.assert_array_equal(DropPath(0.9)(x), x)
    np.testing.assert_array_equal(DropPath(0.0)(x, training=True), x)


def test_float16_stays_float16():
    y = DropPath(0.5, dtype="mixed_float16", seed=1)(np.ones((64, 3), "float32"), training=True)
    assert y.dtype == "float16" and set(np.unique(y)) == {0.0, 2.0}


@pytest.mark.parametrize("rate", [-0.1, 1.0, 20])
def test_wrong_rate(rate):
    with pytest.raises(ValueError, match=rf"`rate` .* Received: rate={rate}"):
        DropPath(rate)
