"""Signal propagation: the growth that the papers predict, on models of this package and on others."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.analysis.signal_propagation import draw
from keras_tricks.utils.errors import UserError

ALPHA = 0.2


def expected_variances(blocks):
    """1 + alpha^2 after the first block of a stage, alpha^2 more after each other."""
    return [1 + (index + 1) * ALPHA**2 for count in blocks for index in range(count)]


@pytest.mark.slow
def test_nf_resnet50_follows_the_prediction():
    signal = kt.analysis.signal_propagation(kt.models.NFResNet50(), batch_size=4, open_branches=True)
    found = [b.variance for b in signal.blocks]
    assert found == pytest.approx(expected_variances((3, 4, 6, 3)), rel=0.1)
    assert [b.branch_variance for b in signal.blocks] == pytest.approx([ALPHA**2] * 16, rel=0.2)


def test_small_nf_resnet_follows_the_prediction():
    keras.utils.set_random_seed(0)
    model = kt.models.NFResNetCifar()
    signal = kt.analysis.signal_propagation(model, batch_size=16, open_branches=True)
    assert [b.variance for b in signal.blocks] == pytest.approx(expected_variances((3, 3, 3)), rel=0.15)
    assert signal.normalizations == 0 and signal.closed == 0


def test_closed_branches_are_counted_and_opened_for_the_measurement_only():
    model = kt.models.NFResNetCifar()
    before = [v.numpy() for v in model.variables]
    closed = kt.analysis.signal_propagation(model, batch_size=2)
    assert closed.closed == len(closed.blocks) == 9
    assert {b.branch_variance for b in closed.blocks} == {0.0}
    assert "9 branches are zero" in str(closed) and "no normalization layer" in str(closed)
    opened = kt.analysis.signal_propagation(model, batch_size=2, open_branches=True)
    assert min(b.branch_variance for b in opened.blocks) > 0
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, model.variables, strict=True))


def residual_network(normalized, blocks=5, channels=128):
    """A plain pre-activation network without layers of this package: he-normal 3x3 convolutions, one per branch."""
    image = keras.Input((16, 16, 3))
    init = keras.initializers.HeNormal
    x = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=init(seed=0))(image)
    for i in range(blocks):
        branch = keras.layers.BatchNormalization()(x) if normalized else x
        branch = keras.layers.ReLU()(branch)
        branch = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=init(seed=i + 1))(branch)
        x = keras.layers.Add()([x, branch])
    return keras.Model(image, x)


def second_moments(normalized):
    signal = kt.analysis.signal_propagation(residual_network(normalized), batch_size=4)
    assert signal.normalizations == 5 * normalized
    return np.array([b.variance + b.squared_mean for b in signal.blocks])


def test_normalized_branches_add_and_plain_ones_multiply():
    """The power grows by a constant per block with batch normalization, by a factor without (2101.08692, 3.1)."""
    steps = np.diff(second_moments(normalized=True))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.25)
    plain = second_moments(normalized=False)
    factors = plain[1:] / plain[:-1]
    assert 1.6 < factors.min() and factors.max() < 2.4


def test_moving_statistics_are_put_back():
    model = residual_network(normalized=True)
    before = [v.numpy() for v in model.non_trainable_variables]
    kt.analysis.signal_propagation(model, batch_size=2)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, model.non_trainable_variables, strict=True))


def test_statistics_are_those_of_numpy():
    image = keras.Input((4, 4, 3))
    x = keras.layers.Add(name="sum")([image, keras.layers.Conv2D(3, 1, kernel_initializer="ones")(image)])
    pixels = np.random.default_rng(0).normal(1.0, 2.0, size=(5, 4, 4, 3)).astype("float32")
    (row,) = kt.analysis.signal_propagation(keras.Model(image, x), pixels).blocks
    branch = np.repeat(pixels.sum(-1, keepdims=True), 3, axis=-1)
    out = pixels + branch
    assert row.name == "sum"
    assert row.squared_mean == pytest.approx(np.mean(out.mean((0, 1, 2)) ** 2), rel=1e-4)
    assert row.variance == pytest.approx(np.mean(out.var((0, 1, 2))), rel=1e-4)
    assert row.branch_variance == pytest.approx(np.mean(branch.var((0, 1, 2))), rel=1e-4)


def test_mistakes():
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(UserError, match="has no residual addition"):
        kt.analysis.signal_propagation(plain)
    headless = kt.models.NFResNetCifar(include_top=False)
    with pytest.raises(UserError, match="any size: pass `image_size`"):
        kt.analysis.signal_propagation(headless)
    assert kt.analysis.signal_propagation(headless, image_size=16, batch_size=1).blocks


def test_normalization_in_a_normalizer_free_model_is_reported():
    image = keras.Input((8, 8, 3))
    branch = kt.layers.ScaledWSConv2D(3, 3, padding="same")(image)
    half = keras.Model(image, keras.layers.Add()([image, keras.layers.BatchNormalization()(branch)]), name="half")
    found = kt.analysis.signal_propagation(half, batch_size=2)
    assert "not normalizer-free: beside 1 scaled weight-standardized convolutions it has 1" in found.suspicion()
    assert kt.analysis.signal_propagation(residual_network(True), batch_size=2).suspicion() == ""
    assert kt.analysis.signal_propagation(kt.models.NFResNetCifar(), batch_size=2).suspicion() == ""


def test_plot(tmp_path):
    signals = [kt.analysis.signal_propagation(residual_network(n), batch_size=2) for n in (True, False)]
    draw(signals, tmp_path / "signal.png")
    assert (tmp_path / "signal.png").read_bytes().startswith(b"\x89PNG")
