"""Scaled weight standardization against its formula, and the fast path against the plain one."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.layers import scaled_ws_conv2d
from keras_tricks.utils.errors import UserError

MODES = [("max", 1e-4), ("add", 1e-5)]


def kernel(shape=(3, 3, 4, 6), seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.2, size=shape).astype("float32")


def by_formula(w, gain, eps_mode, eps, scale=1.0):
    fan_in = np.prod(w.shape[:-1])
    mean, var = w.mean((0, 1, 2)), w.var((0, 1, 2))
    if eps_mode == "max":
        return scale * gain * (w - mean) / np.sqrt(np.maximum(fan_in * var, eps))
    return scale * gain * (w - mean) / np.sqrt(fan_in * (var + eps))


@pytest.mark.parametrize("mode, eps", MODES)
def test_kernel_follows_the_formula(mode, eps):
    w, gain = kernel(), np.linspace(0.5, 2, 6).astype("float32")
    ours = keras.ops.convert_to_numpy(kt.ops.standardize_kernel(w, gain, eps, mode, 1.7))
    np.testing.assert_allclose(ours, by_formula(w.astype("float64"), gain, mode, eps, 1.7), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("mode, eps", MODES)
@pytest.mark.parametrize("spread", [1.0, 1e-4, 0.0])
def test_fast_path_equals_the_plain_one(mode, eps, spread):
    """Values and gradients, also for a kernel that is almost constant, so that `eps` dominates."""
    tf = pytest.importorskip("tensorflow")
    w, gain = tf.constant(1.0 + spread * (kernel() - 1.0)), tf.constant(np.linspace(0.5, 2, 6), tf.float32)
    weights = tf.constant(kernel(seed=1))

    def values_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([w, gain])
            standardized = function(w, gain, eps, mode, 1.7)
            total = tf.reduce_sum(standardized * weights)
        return [standardized, *tape.gradient(total, [w, gain])]

    fast, plain = (values_and_gradients(f) for f in (scaled_ws_conv2d._standardize, kt.ops.standardize_kernel))
    for a, b in zip(fast, plain, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-3 if spread == 1e-4 else 1e-4, atol=1e-4 * (np.abs(b).max() + 1e-3))


def test_output_has_the_variance_of_the_input():
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 32)).astype("float32")
    layer = kt.layers.ScaledWSConv2D(64, 3, padding="same")
    y = np.asarray(layer(x))[:, 1:-1, 1:-1]
    assert y.var() == pytest.approx(1.0, abs=0.05)
    layer.kernel.assign(layer.kernel * 100 + 5)
    np.testing.assert_allclose(np.asarray(layer(x))[:, 1:-1, 1:-1], y, atol=1e-3)


@pytest.mark.parametrize("strides, padding", [(1, "same"), (2, "same"), (2, "valid")])
def test_groups_equal_one_convolution_per_group(strides, padding):
    x = np.random.default_rng(0).normal(size=(2, 7, 7, 8)).astype("float32")
    layer = kt.layers.ScaledWSConv2D(6, 3, strides, padding, groups=2)
    y = np.asarray(layer(x))
    standardized = keras.ops.convert_to_numpy(layer.standardized_kernel())
    parts = [keras.ops.conv(x[..., 4 * g : 4 * g + 4], standardized[..., 3 * g : 3 * g + 3], strides, padding)
             for g in range(2)]
    np.testing.assert_allclose(y, np.concatenate(parts, axis=-1), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_float32_in_mixed_precision(policy):
    """A kernel around 1 loses its differences in 8 or 11 bits. The standardized kernel must not."""
    layer = kt.layers.ScaledWSConv2D(6, 3, dtype=policy)
    layer.build((None, 5, 5, 4))
    layer.kernel.assign(1.0 + 1e-3 * kernel())
    expected = by_formula(layer.kernel.numpy().astype("float64"), 1.0, "max", 1e-4)
    x = np.zeros((1, 3, 3, 4), "float32")
    x[0, 1, 1, 2] = 1.0
    y = keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))[0, 0, 0]
    np.testing.assert_allclose(y, expected[1, 1, 2], rtol=0.01, atol=1e-4)


def test_without_gain_and_bias():
    layer = kt.layers.ScaledWSConv2D(6, 3, use_bias=False, use_gain=False)
    layer.build((None, 5, 5, 4))
    assert [w.path.rpartition("/")[2] for w in layer.weights] == ["kernel"]
    np.testing.assert_allclose(np.sum(np.square(layer.standardized_kernel()), axis=(0, 1, 2)), 1.0, rtol=1e-5)


def test_no_bias_decay_excludes_gain_and_bias():
    model = keras.Sequential([keras.Input((5, 5, 3)), kt.layers.ScaledWSConv2D(2, 3), kt.layers.SkipGain()])
    exempt = {v.path.rpartition("/")[2] for v in kt.optimizers.no_decay(model)}
    assert exempt == {"bias", "gain"}


def test_unknown_eps_mode():
    with pytest.raises(UserError, match="`eps_mode` must be one of 'max', 'add'"):
        kt.layers.ScaledWSConv2D(2, 3, eps_mode="min")
