"""The constants of variance-preserving activations."""

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.layers.scaled_activation import DEEPMIND_GAINS, activation_gain
from keras_tricks.utils.errors import UserError

EXACT = {  # integrals, to nine digits
    "celu": 1.270843418, "elu": 1.270843418, "gelu_tanh": 1.700916562, "gelu": 1.700926243, "leaky_relu": 1.704831627,
    "log_sigmoid": 1.919125980, "relu": 1.712858550, "relu6": 1.712858555, "selu": 1.0, "sigmoid": 4.801313374,
    "silu": 1.787187222, "softsign": 2.337533363, "softplus": 1.919125980, "tanh": 1.592537420, "mish": 1.592025381,
    "hard_silu": 1.813871474,
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_gains(name):
    assert activation_gain(name, "exact") == pytest.approx(EXACT[name], rel=2e-6)


def test_deepmind_gains_are_estimates_of_the_exact_ones():
    for name, gain in DEEPMIND_GAINS.items():
        assert activation_gain(name, "exact") == pytest.approx(gain, rel=1e-3), name
    assert activation_gain("relu") == 1.7139588594436646
    assert activation_gain("gelu") == 1.7015043497085571
    assert activation_gain("swish") == activation_gain("silu") == 1.7881293296813965


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "tanh"])
def test_variance_of_normal_inputs_is_kept(name):
    z = np.random.default_rng(0).normal(size=(1000, 1000)).astype("float32")
    assert np.var(np.asarray(kt.layers.ScaledActivation(name, "exact")(z))) == pytest.approx(1.0, abs=0.01)


def test_scale_and_no_gain():
    x = np.array([[-1.0, 2.0]], "float32")
    np.testing.assert_allclose(kt.layers.ScaledActivation("relu", "none", 0.5)(x), [[0.0, 1.0]])
    np.testing.assert_allclose(kt.layers.ScaledActivation("relu", scale=0.5)(x), [[0.0, 1.7139588594436646]], rtol=1e-6)


def test_unknown_names():
    with pytest.raises(UserError, match="`gain` must be one of 'deepmind', 'exact', 'none'"):
        kt.layers.ScaledActivation("relu", "timm")
    with pytest.raises(UserError, match="`activation` must be one of .* Received: 'mish'"):
        kt.layers.ScaledActivation("mish")
