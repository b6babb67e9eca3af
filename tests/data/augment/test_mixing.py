import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_tricks.data.augment.mixing import beta, cutmix, mix, mixup
from keras_tricks.recipe import Augment
from keras_tricks.utils.errors import UserError


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


def test_the_middle_of_an_odd_batch_is_its_own_partner():
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


def wide(count, classes=None):
    """Like `batch`, with images large enough for boxes."""
    images = tf.ones([count, 16, 24, 3]) * tf.reshape(tf.range(count, dtype=tf.float32), [-1, 1, 1, 1])
    return images, tf.one_hot(tf.range(count), classes or count)


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_cutmix_pastes_a_box_of_the_partner_and_labels_follow_the_area(per):
    count = 6
    images, labels = (t.numpy() for t in cutmix(*wide(count), 1.0, (1, 2), per))
    boxes = set()
    for i in range(count):
        pasted = (images[i, :, :, 0] == count - 1 - i)
        assert (images[i] == np.where(pasted, count - 1 - i, i)[..., None]).all()
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        assert pasted.sum() == len(rows) * len(columns), "a box"
        if len(rows):
            assert rows[-1] - rows[0] + 1 == len(rows) and columns[-1] - columns[0] + 1 == len(columns)
            boxes.add((rows[0], rows[-1], columns[0], columns[-1]))
        assert labels[i, count - 1 - i] == pytest.approx(pasted.mean(), abs=1e-6)
        assert labels[i].sum() == pytest.approx(1.0, abs=1e-6)
    assert len(boxes) == 1 if per == "batch" else len(boxes) > 2


def test_boxes_have_the_area_of_beta_where_they_are_not_cut():
    """With Beta(1, 1) the requested share is uniform; clipping at the border reduces it."""
    shares = [cutmix(*wide(2), 1.0, (3, i))[1].numpy()[0, 1] for i in range(400)]
    assert 0 <= min(shares) < 0.02 and max(shares) > 0.6 and 0.25 < np.mean(shares) < 0.5


def test_partners_of_their_own():
    images, labels = wide(4, 8)
    others, other_labels = images + 4, tf.one_hot(tf.range(4) + 4, 8)
    mixed, mixed_labels = (t.numpy() for t in mixup(images, labels, 0.5, (0, 1), "sample", (others, other_labels)))
    for i in range(4):
        assert mixed_labels[i, i] + mixed_labels[i, i + 4] == pytest.approx(1.0, abs=1e-6)
        assert mixed[i, 0, 0, 0] == pytest.approx(i + 4 * mixed_labels[i, i + 4], abs=1e-4)


def test_halves_and_either():
    both = Augment(mixup_alpha=0.5, cutmix_alpha=1.0)
    images, labels = (t.numpy() for t in mix(*wide(8), both, (0, 3)))
    blended = [len(np.unique(image)) == 1 for image in images]
    assert blended[:4] == [True] * 4 and not any(blended[4:])
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, atol=1e-6)
    either = both.model_copy(update={"mix_both": "either"})
    kinds = [len(np.unique(mix(*wide(8), either, (0, step))[0].numpy()[0])) == 1 for step in range(40)]
    assert 8 <= sum(kinds) <= 32


def test_one_alone():
    only = Augment(cutmix_alpha=1.0)
    for a, b in zip(mix(*wide(4), only, (5, 6)), mix(*wide(4), only, (5, 6)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(np.unique(mix(*wide(4), only, (5, 6))[0])) <= {0.0, 1.0, 2.0, 3.0}
