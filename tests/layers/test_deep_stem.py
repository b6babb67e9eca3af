"""The deep stem: sizes, cost and the convolution with the stride."""

import keras
import numpy as np
import pytest

from keras_tricks.layers import DeepStem


def count(layer):
    return sum(int(np.prod(w.shape)) for w in layer.trainable_weights)


def test_size_and_parameters_against_the_7x7_stem():
    stem = DeepStem()
    assert stem(np.zeros((1, 32, 32, 3))).shape == (1, 16, 16, 64)
    assert stem.compute_output_shape((None, 224, 224, 3)) == (None, 112, 112, 64)
    convolutions = 3 * 32 * 9 + 32 * 32 * 9 + 32 * 64 * 9
    assert count(stem) == convolutions + 2 * (32 + 32 + 64)
    assert count(stem) - (7 * 7 * 3 * 64 + 2 * 64) == 19_232


def test_only_the_first_convolution_has_a_stride():
    convolutions = [layer for layer in DeepStem().layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.strides for c in convolutions] == [(2, 2), (1, 1), (1, 1)]
    assert not any(c.use_bias for c in convolutions)


def test_odd_sizes_round_up():
    assert DeepStem((2, 2, 4))(np.zeros((1, 9, 7, 3))).shape == (1, 5, 4, 4)


@pytest.mark.parametrize("row, seen_by", [(0, [3, 0, 0, 0]), (1, [3, 3, 0, 0]), (7, [0, 0, 0, 3])])
def test_padding_is_the_same_on_both_sides(row, seen_by):
    """Windows of the strided convolution start at rows -1, 1, 3, 5; with TensorFlow's "same" at 0, 2, 4, 6."""
    stem = DeepStem((1, 1, 1), kernel_initializer="ones")
    x = np.zeros((1, 8, 8, 1), "float32")
    x[0, row] = 1.0
    stem.build(x.shape)
    pad, convolution = stem.layers[:2]
    assert np.asarray(convolution(pad(x)))[0, :, 1, 0].tolist() == seen_by


def test_activation_follows_every_normalization():
    stem = DeepStem((2, 2, 4), activation="sigmoid")
    y = np.asarray(stem(np.random.default_rng(0).normal(size=(2, 8, 8, 3))))
    assert (y > 0).all() and (y < 1).all()
    kinds = [type(layer).__name__ for layer in stem.layers if type(layer).__name__ != "ZeroPadding2D"]
    assert kinds == ["Conv2D", "BatchNormalization", "Activation"] * 3


def test_training_moves_the_statistics_and_inference_does_not():
    stem = DeepStem((2, 2, 4))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    stem(x, training=False)
    assert all((w.numpy() == 0).all() for w in stem.non_trainable_weights if "mean" in w.path)
    stem(x, training=True)
    assert all((w.numpy() != 0).any() for w in stem.non_trainable_weights if "mean" in w.path)


def test_three_widths_are_needed():
    with pytest.raises(ValueError, match=r"`filters` must be three.*\(32, 64\)"):
        DeepStem((32, 64))
