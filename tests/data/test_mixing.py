import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_tricks.data.mixing import beta, mixup
from keras_tricks.errors import UserError


def batch(count, classes=None):
    """Image i is the constant i, label i the i-th unit vector."""
    images = tf.ones([count, 4, 5, 3]) * tf.reshape(tf.range(count, dtype=tf.float32), [-1, 1, 1, 1])
    return images, tf.one_hot(tf.range(count), classes or count)


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_partner_is_the_reversed_batch_with_one_lambda_for_image_and_label(per):
    count = 6
    images, labels = (t.numpy() for t in mixup(*batch(count), 0.5, (1, 2), per))
    i = np.arange(count)
    lam = labels[i, i]
    assert ((lam >= 0) & (lam <= 1)).all() and 0.01 < lam[0] < 0.99
    np.testing.assert_allclose(labels[i, count - 1 - i], 1 - lam, atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, atol=1e-6)
    expected = lam * i + (1 - lam) * (count - 1 - i)
    np.testing.assert_allclose(images, np.broadcast_to(expected[:, None, None, None], images.shape), atol=1e-5)
    assert len(np.unique(lam)) == (1 if per == "batch" else count)


def test_the_middle_of_an_odd_batch_meets_itself():
    images, labels = mixup(*batch(5), 0.2, (0, 0))
    np.testing.assert_allclose(images[2], 2.0, atol=1e-6)
    np.testing.assert_allclose(labels[2], np.eye(5)[2], atol=1e-6)


def test_lambda_is_a_function_of_the_seed():
    draws = [mixup(*batch(4), 0.2, (0, step))[1].numpy() for step in range(8)]
    np.testing.assert_array_equal(draws[3], mixup(*batch(4), 0.2, (0, 3))[1])
    assert len({d.tobytes() for d in draws}) == 8


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_beta_has_the_distribution_of_its_name(alpha):
    lam = beta(100_000, alpha, (5, 6)).numpy()
    assert lam.min() >= 0 and lam.max() <= 1
    assert lam.mean() == pytest.approx(0.5, abs=0.005)
    assert lam.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.002)
    probes = np.array([0.01, 0.1, 0.3, 0.5, 0.8, 0.99])
    np.testing.assert_allclose(
        [(lam <= p).mean() for p in probes], scipy.stats.beta.cdf(probes, alpha, alpha), atol=0.006
    )


def test_a_tiny_alpha_gives_no_nan():
    lam = beta(10_000, 1e-3, (0, 1)).numpy()
    assert np.isfinite(lam).all() and lam.min() >= 0 and lam.max() <= 1


def test_unknown_per_names_the_choices():
    with pytest.raises(UserError, match="`per` must be one of 'batch', 'sample'. Received: 'samples'.*sample"):
        mixup(*batch(2), 0.2, (0, 0), per="samples")
