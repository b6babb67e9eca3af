"""Mixup and CutMix: trains on combinations of two images and of their labels.

Formula    mixup   x <- lambda x_i + (1 - lambda) x_j, y <- lambda y_i + (1 - lambda) y_j, lambda ~ Beta(alpha, alpha)
           CutMix  a box of x_j of (1 - lambda) of the area is pasted into x_i; y by the area that is left
Paper      mixup: Zhang et al. 2017, arXiv:1710.09412; He et al. 2018, arXiv:1812.01187, section 5.4 (alpha 0.2, 200
           epochs). CutMix: Yun et al. 2019, arXiv:1905.04899. Both, each on one half of the batch: Brock et al. 2021,
           arXiv:2102.06171, appendix (alpha 0.2 and 1)
Recipe     mixup: augment.mixup_alpha=0.2; cutmix: augment.cutmix_alpha=1.0
Use when   long training: it needs more epochs to converge (Bag of Tricks goes from 120 to 200)
Do not     on short runs
Cost       one pass over the batch, on the host
Differs    partner j is the reversed batch, lambda one per batch (gluon-cv); `per="sample"` and partners of their own
           are DeepMind's choice
Status     in recipes; costs accuracy in short training, as expected (docs/results/ablation, n = 3)
"""

import tensorflow as tf

from keras_tricks.utils.errors import check_choice


def mixup(images, labels, alpha, seed, per="batch", partners=None):
    """Mixes each image and label with its partner's.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot or soft.
        alpha: float > 0, of the Beta distribution; 0.2 in the paper.
        seed: int64 `(2,)`.
        per: `"batch"` (one lambda) or `"sample"` (one for each image).
        partners: `(images, labels)` of the same shapes. Defaults to the reversed batch.

    Returns:
        `images, labels` of the same shapes.
    """
    check_choice("per", per, ("batch", "sample"))
    others, other_labels = _reversed(images, labels) if partners is None else partners
    lam = beta(tf.shape(images)[0] if per == "sample" else 1, alpha, seed)
    return _blend(images, others, lam), _blend(labels, other_labels, lam)


def cutmix(images, labels, alpha, seed, per="batch", partners=None):
    """Pastes a random box of its partner into each image, and mixes the labels by area.

    Arguments and results as for `mixup`. The box has the image's aspect ratio and a uniform centre; where it leaves
    the image it is cut, and the labels follow what is left.
    """
    check_choice("per", per, ("batch", "sample"))
    others, other_labels = _reversed(images, labels) if partners is None else partners
    count = tf.shape(images)[0] if per == "sample" else 1
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    seeds = tf.random.split(seed, 2)
    side = tf.sqrt(1.0 - beta(count, alpha, seeds[0]))
    centre = tf.random.stateless_uniform([2, count], seeds[1])
    rows, kept_rows = _span(centre[0], side, height)
    columns, kept_columns = _span(centre[1], side, width)
    inside = rows[:, :, None, None] * columns[:, None, :, None]
    share = 1.0 - kept_rows * kept_columns
    return images + tf.cast(inside, images.dtype) * (others - images), _blend(labels, other_labels, share)


def _span(centre, side, length):
    """Which of `length` positions lie in the box, float32 `(count, length)`, and their share of all, `(count,)`."""
    total = tf.cast(length, tf.float32)
    middle, half = tf.floor(centre * total), tf.floor(side * total) / 2.0
    first = tf.clip_by_value(tf.floor(middle - half), 0.0, total)
    last = tf.clip_by_value(tf.floor(middle + half), 0.0, total)
    positions = tf.range(length, dtype=tf.float32)[None]
    return tf.cast((positions >= first[:, None]) & (positions < last[:, None]), tf.float32), (last - first) / total


def mix(images, labels, augment, seed, partners=None):
    """Mixup, CutMix or both, as the `augment` section of a recipe says.

    With both, `mix_both="halves"` gives mixup to the first half of the batch and CutMix to the second (NFNets);
    `"either"` draws one of them for the whole batch (timm).
    """
    seeds = tf.random.split(tf.cast(seed, tf.int64), 3)
    mixing = lambda x, y, p: mixup(x, y, augment.mixup_alpha, seed, augment.mixup_per, p)  # noqa: E731
    cutting = lambda x, y, p: cutmix(x, y, augment.cutmix_alpha, seeds[1], augment.mixup_per, p)  # noqa: E731
    if not (augment.mixup_alpha and augment.cutmix_alpha):
        return (mixing if augment.mixup_alpha else cutting)(images, labels, partners)
    if augment.mix_both == "either":
        coin = tf.random.stateless_uniform([], seeds[2]) < 0.5
        return tf.cond(coin, lambda: mixing(images, labels, partners), lambda: cutting(images, labels, partners))
    half = tf.shape(images)[0] // 2
    partners = _reversed(images, labels) if partners is None else partners
    first = mixing(images[:half], labels[:half], tuple(p[:half] for p in partners))
    second = cutting(images[half:], labels[half:], tuple(p[half:] for p in partners))
    return tuple(tf.ensure_shape(tf.concat(parts, 0), whole.shape)
                 for parts, whole in zip(zip(first, second, strict=True), (images, labels), strict=True))


def _reversed(images, labels):
    return tf.reverse(images, [0]), tf.reverse(labels, [0])


def _blend(x, other, share):
    weight = tf.reshape(share, [-1] + [1] * (len(x.shape) - 1))
    return weight * x + (1.0 - weight) * other


def beta(count, alpha, seed):
    """`count` float32 draws from Beta(alpha, alpha), a function of `seed` (two Gamma draws: X / (X + Y))."""
    gammas = tf.random.stateless_gamma([2, count], seed, alpha=tf.constant(alpha, tf.float64), dtype=tf.float64)
    total = gammas[0] + gammas[1]
    return tf.cast(tf.where(total > 0, gammas[0] / total, 0.5), tf.float32)
