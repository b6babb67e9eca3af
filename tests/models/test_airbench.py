"""The network of airbench: its size, the order of its layers, and what is refused."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError


def test_parameters_are_those_of_the_code():
    """Biases of 24 frozen filters, six convolutions, offsets of batch normalization, a head without bias."""
    convolutions = [(24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)]
    trained = 24 + sum(9 * a * b for a, b in convolutions) + sum(b for _, b in convolutions) + 256 * 10
    model = kt.models.Airbench94()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == trained == 1_971_352
    assert model.get_layer("whiten").kernel.shape == (2, 2, 3, 24)
    assert model.get_layer("stage3_2_bn").output.shape == (None, 3, 3, 256)


def test_the_layers_by_plain_operations():
    model = kt.models.AirbenchNet((4, 6, 8), input_shape=(32, 32, 3), classes=3, classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    ops, weights = keras.ops, {v.path: v for v in model.variables}

    def weight(name):
        return next(v for path, v in weights.items() if path.endswith(name))

    def norm(x, name):
        mean, variance = weight(f"{name}_bn/moving_mean"), weight(f"{name}_bn/moving_variance")
        return ops.gelu((x - mean) / ops.sqrt(variance + 1e-12) + weight(f"{name}_bn/beta"), approximate=False)

    x = ops.gelu(ops.conv(images, weight("whiten/kernel")) + weight("whiten/bias"), approximate=False)
    for group in (1, 2, 3):
        x = ops.max_pool(ops.conv(x, weight(f"stage{group}_conv1/kernel"), padding="same"), 2, 2)
        x = norm(x, f"stage{group}_1")
        x = norm(ops.conv(x, weight(f"stage{group}_conv2/kernel"), padding="same"), f"stage{group}_2")
    expected = ops.matmul(ops.reshape(ops.max_pool(x, 3, 3), (2, 8)), weight("head/kernel")) / 8
    np.testing.assert_allclose(np.asarray(model(images)), np.asarray(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong, words", [({"widths": (4, 6)}, "three integers"),
                                          ({"input_shape": (16, 16, 3)}, "at least 26 pixels")], ids=str)
def test_what_is_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        kt.models.AirbenchNet(**{"widths": (4, 6, 8), "input_shape": (32, 32, 3), **wrong})


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_whitening_layer_computes_in_float32_in_mixed_precision(policy):
    """In bfloat16 the bias grows on rounding errors: to 42 instead of 3.3 in 10 epochs of 2,000 CIFAR-10 images."""
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        model = kt.models.AirbenchNet((4, 6, 8), classes=3)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("whiten").compute_dtype == "float32"
    assert model.get_layer("stage1_conv1").compute_dtype == policy.removeprefix("mixed_")
