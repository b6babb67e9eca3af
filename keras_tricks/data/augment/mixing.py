"""Mixup and CutMix: training on combinations of two images and of their labels.

Formula    mixup   x <- lambda x_i + (1 - lambda) x_j, y <- lambda y_i + (1 - lambda) y_j, lambda ~ Beta(alpha, alpha)
           CutMix  a box of x_j with (1 - lambda) of the area is pasted into x_i; y by the areas that remain visible
Paper      mixup: Zhang et al. 2017, arXiv:1710.09412; He et al. 2018, arXiv:1812.01187, section 5.4 (alpha 0.2, 200
           epochs). CutMix: Yun et al. 2019, arXiv:1905.04899. Both, each on one half of the batch: Brock et al. 2021,
           arXiv:2102.06171, appendix (alpha 0.2 and 1)
Recipe     mixup: augment.mixup_alpha=0.2; cutmix: augment.cutmix_alpha=1.0
Use when   long training: it needs more epochs to converge (200 instead of 120 in Bag of Tricks)
Do not     use it in short runs
Cost       one pass over the batch, on the host
Differs    partner j comes from the reversed batch, with one lambda per batch (gluon-cv). DeepMind draws one lambda per
           image (`per="sample"`) and partners from a second pass over the data (`partners`)
Status     in recipes; costs accuracy in short training, as expected (docs/results/ablation, n = 3)
"""

import tensorflow as tf

from keras_tricks.utils.errors import check_choice


def mixup(images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor, per: str = "batch",
          partners: tuple[tf.Tensor, tf.Tensor] | None = None, rows=None,
          batch_size: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image and label with its partner's.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot or soft.
        alpha: float > 0, parameter of the Beta distribution; 0.2 in the paper.
        seed: int64 `(2,)`.
        per: `"batch"` (one lambda) or `"sample"` (one per image).
        partners: `(images, labels)` of the same shapes. Defaults to the reversed batch.
        rows: int64 `(batch,)`, where these images are in a larger batch of `batch_size`. Defaults to `None`, they are
            the batch. The numbers drawn for a row are the same.

    Returns:
        `images, labels` of the same shapes.
    """
    check_choice("per", per, ("batch", "sample"))
    others, other_labels = _reversed(images, labels) if partners is None else partners
    lam = _of_rows(beta(_draws(images, per, batch_size), alpha, seed), rows, per)
    return _blend(images, others, lam), _blend(labels, other_labels, lam)


def cutmix(images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor, per: str = "batch",
           partners: tuple[tf.Tensor, tf.Tensor] | None = None, rows=None,
           batch_size: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes a random box of its partner into each image, and mixes the labels by area.

    Arguments and results as for `mixup`. The box has the image's aspect ratio and a uniform centre. It is clipped to
    the image, and the labels are mixed by the clipped area.
    """
    check_choice("per", per, ("batch", "sample"))
    others, other_labels = _reversed(images, labels) if partners is None else partners
    count = _draws(images, per, batch_size)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    seeds = tf.random.split(seed, 2)
    side = _of_rows(tf.sqrt(1.0 - beta(count, alpha, seeds[0])), rows, per)
    centre = tf.random.stateless_uniform([2, count], seeds[1])
    vertical, kept_height = _span(_of_rows(centre[0], rows, per), side, height)
    horizontal, kept_width = _span(_of_rows(centre[1], rows, per), side, width)
    inside = vertical[:, :, None, None] * horizontal[:, None, :, None]
    share = 1.0 - kept_height * kept_width
    return images + tf.cast(inside, images.dtype) * (others - images), _blend(labels, other_labels, share)


def _draws(images, per, batch_size):
    """How many random numbers a batch takes."""
    if per == "batch":
        return 1
    return tf.shape(images)[0] if batch_size is None else batch_size


def _of_rows(drawn, rows, per):
    return drawn if rows is None or per == "batch" else tf.gather(drawn, rows)


def _span(centre, side, length):
    """Mask of the positions in the box, float32 `(count, length)`, and the share of positions in it, `(count,)`."""
    total = tf.cast(length, tf.float32)
    middle, half = tf.floor(centre * total), tf.floor(side * total) / 2.0
    first = tf.clip_by_value(tf.floor(middle - half), 0.0, total)
    last = tf.clip_by_value(tf.floor(middle + half), 0.0, total)
    positions = tf.range(length, dtype=tf.float32)[None]
    return tf.cast((positions >= first[:, None]) & (positions < last[:, None]), tf.float32), (last - first) / total


def mix(images, labels, augment, seed, partners=None, rows=None, batch_size=None):
    """Applies mixup, CutMix or both, as set in the `augment` section of a recipe.

    With both, `mix_both="halves"` applies mixup to the first half of the batch and CutMix to the second (NFNets);
    `"either"` draws one of them for the whole batch (timm).

    Args:
        images, labels, partners, batch_size: as for `mixup`.
        augment: the section of a `Recipe`.
        seed: integer tensor `(2,)`.
        rows: NumPy int64 `(batch,)`, ascending, as for `mixup`.
    """
    seeds = tf.random.split(tf.cast(seed, tf.int64), 3)
    per = augment.mixup_per
    mixing = lambda x, y, p, r, n: mixup(x, y, augment.mixup_alpha, seed, per, p, r, n)  # noqa: E731
    cutting = lambda x, y, p, r, n: cutmix(x, y, augment.cutmix_alpha, seeds[1], per, p, r, n)  # noqa: E731
    batch = images, labels, partners, rows, batch_size
    if not (augment.mixup_alpha and augment.cutmix_alpha):
        return (mixing if augment.mixup_alpha else cutting)(*batch)
    if augment.mix_both == "either":
        coin = tf.random.stateless_uniform([], seeds[2]) < 0.5
        return tf.cond(coin, lambda: mixing(*batch), lambda: cutting(*batch))
    partners = _reversed(images, labels) if partners is None else partners
    total = tf.shape(images)[0] if rows is None else batch_size
    half = split = total // 2
    first_rows = second_rows = None
    if rows is not None:
        split = int((rows < half).sum())
        first_rows, second_rows = rows[:split], rows[split:] - half
    first = mixing(images[:split], labels[:split], tuple(p[:split] for p in partners), first_rows, half)
    second = cutting(images[split:], labels[split:], tuple(p[split:] for p in partners), second_rows, total - half)
    return tuple(tf.ensure_shape(tf.concat(parts, 0), whole.shape)
                 for parts, whole in zip(zip(first, second, strict=True), (images, labels), strict=True))


def _reversed(images, labels):
    return tf.reverse(images, [0]), tf.reverse(labels, [0])


def _blend(x, other, share):
    weight = tf.reshape(share, [-1] + [1] * (len(x.shape) - 1))
    return weight * x + (1.0 - weight) * other


def beta(count, alpha, seed):
    """Draws `count` float32 numbers from Beta(alpha, alpha), a function of `seed` (two Gamma draws: X / (X + Y))."""
    gammas = tf.random.stateless_gamma([2, count], seed, alpha=tf.constant(alpha, tf.float64), dtype=tf.float64)
    total = gammas[0] + gammas[1]
    return tf.cast(tf.where(total > 0, gammas[0] / total, 0.5), tf.float32)
