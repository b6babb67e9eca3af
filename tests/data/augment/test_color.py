import colorsys
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_tricks.data.augment import color


def image(seed=0, size=6):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype("float32")


def seeds(count):
    return tf.data.Dataset.range(count).map(lambda i: tf.stack([3, i]))


# The numbers of gluon-cv (facts of the paper's code): one row per channel, one column per eigenvalue.
EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


@pytest.mark.parametrize("alpha", [(0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1), (-0.13, 0.05, 0.21)])
def test_pca_noise_is_the_formula_channel_by_channel(alpha):
    x = image()
    noisy = color.pca_noise(tf.constant(x), tf.constant(alpha, tf.float32)).numpy()
    for channel in range(3):
        added = sum(EIGENVECTORS[channel, k] * alpha[k] * EIGENVALUES[k] for k in range(3))
        np.testing.assert_allclose(noisy[..., channel], x[..., channel] + added, atol=1e-4)


def test_the_first_component_is_gray_and_the_vectors_are_orthonormal():
    vectors = np.array(color.PCA_EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)
    assert np.ptp(vectors[:, 0]) < 0.02


def numpy_jitter(x, factors, order):
    luma = np.array([0.299, 0.587, 0.114])
    for step in order:
        if step == 0:
            x = x * factors[0]
        elif step == 1:
            x = (1 - factors[1]) * (x @ luma).mean() + factors[1] * x
        else:
            x = (1 - factors[2]) * (x @ luma)[..., None] + factors[2] * x
        x = np.clip(x, 0, 255)
    return x


@pytest.mark.parametrize("number", range(6))
def test_jitter_is_the_formula_in_each_order(number):
    assert sorted(color.ORDERS) == sorted(itertools.permutations(range(3)))
    x, factors = image(1), (1.3, 0.7, 1.4)
    ours = color.jitter_bcs(tf.constant(x), tf.constant(factors), tf.constant(number))
    expected = numpy_jitter(x.astype("float64"), factors, color.ORDERS[number])
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    assert np.abs(expected - numpy_jitter(x.astype("float64"), factors, color.ORDERS[number - 1])).max() > 1


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.4, 0.6, 0.8), (0.6, 1.4, 1.4), (1.37, 1.0, 1.2)])
def test_scale_hsv_is_colorsys(factors):
    pixels = [(255, 0, 0), (12, 200, 30), (250, 10, 200), (77, 77, 77), (0, 0, 0), (255, 255, 255), (30, 60, 240)]
    ours = color.scale_hsv(tf.constant([pixels], tf.float32), tf.constant(factors)).numpy()[0]
    for pixel, result in zip(pixels, ours, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(p / 255 for p in pixel))
        h, s, v = (h * factors[0]) % 1, min(s * factors[1], 1), min(v * factors[2], 1)
        np.testing.assert_allclose(result, np.array(colorsys.hsv_to_rgb(h, s, v)) * 255, atol=0.01)


@pytest.mark.parametrize("kind", ["paper", "gluoncv"])
def test_factors_fill_the_range_of_the_paper(kind):
    # A gray image has no hue, saturation or contrast: only the factor of value or brightness has an effect.
    gray = tf.fill([2, 2, 3], 100.0)
    factors = np.array(
        [x.mean() / 100 for x in seeds(600).map(lambda s: color.color_jitter(gray, s, kind)).as_numpy_iterator()]
    )
    assert factors.min() >= 0.6 - 1e-5 and factors.max() <= 1.4 + 1e-5
    assert factors.min() < 0.61 and factors.max() > 1.39 and factors.mean() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("kind", ["paper", "gluoncv"])
def test_jitter_is_a_function_of_the_seed_and_0_changes_nothing(kind):
    x = tf.constant(image(2))
    first = color.color_jitter(x, (1, 2), kind)
    np.testing.assert_array_equal(first, color.color_jitter(x, (1, 2), kind))
    assert np.abs(first - color.color_jitter(x, (1, 3), kind)).max() > 1
    np.testing.assert_allclose(color.color_jitter(x, (1, 2), kind, strength=0.0), x, atol=1e-2)


def test_all_six_orders_are_drawn_equally_often(monkeypatch):
    monkeypatch.setattr(color, "jitter_bcs", lambda image, factors, order: order)
    x = tf.zeros([2, 2, 3])
    orders = [int(o) for o in seeds(1200).map(lambda s: color.color_jitter(x, s, "gluoncv")).as_numpy_iterator()]
    counts = np.bincount(orders, minlength=6)
    assert len(counts) == 6 and counts.min() > 150 and counts.max() < 250


def hue(images):
    return tf.image.rgb_to_hsv(tf.clip_by_value(images / 255.0, 0.0, 1.0))[..., 0].numpy() * 360


@pytest.mark.parametrize("kind, least, most", [("paper", 20, 60), ("gluoncv", 0, 2)])
def test_the_two_jitters_turn_colours_differently(kind, least, most):
    """Mean shift of uniform hues, in degrees; photographs have more low hues. The second only shifts where it clips."""
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.uniform(0, 360, (32, 32)) / 360, np.full((32, 32), 0.35), np.full((32, 32), 0.55)], axis=-1)
    x = tf.image.hsv_to_rgb(tf.constant(pixels, tf.float32)) * 255.0
    shifts = []
    for i in range(150):
        turned = (hue(color.color_jitter(x, tf.constant([5, i]), kind)) - hue(x) + 180) % 360 - 180
        shifts.append(np.abs(turned).mean())
    assert least <= np.mean(shifts) < most
