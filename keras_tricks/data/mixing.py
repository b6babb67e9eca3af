"""Mixup: trains on convex combinations of images and of their labels.

Formula    x <- lambda x_i + (1 - lambda) x_j, y <- lambda y_i + (1 - lambda) y_j, lambda ~ Beta(alpha, alpha)
Paper      Zhang et al. 2017, arXiv:1710.09412; He et al. 2018, arXiv:1812.01187, section 5.4 (alpha 0.2, 200 epochs)
Use when   long training: it needs more epochs to converge (the paper goes from 120 to 200)
Do not     on short runs
Cost       one blend per batch, on the host
Differs    nothing. Partner j is the reversed batch, lambda one per batch (gluon-cv); one per image is DeepMind's choice
Status     in recipes; ImageNet results not reproduced here
"""

import tensorflow as tf

from keras_tricks.errors import check_choice


def mixup(images, labels, alpha, seed, per="batch"):
    """Mixes a batch with its own reverse.

    Args:
        images: float32 `(batch, height, width, channels)`.
        labels: float32 `(batch, classes)`, one-hot or soft.
        alpha: float > 0, of the Beta distribution; 0.2 in the paper.
        seed: int64 `(2,)`.
        per: `"batch"` (one lambda) or `"sample"` (one for each image).

    Returns:
        `images, labels` of the same shapes.
    """
    check_choice("per", per, ("batch", "sample"))
    count = tf.shape(images)[0] if per == "sample" else 1
    lam = beta(count, alpha, seed)

    def blend(x):
        weight = tf.reshape(lam, [-1] + [1] * (len(x.shape) - 1))
        return weight * x + (1.0 - weight) * tf.reverse(x, [0])

    return blend(images), blend(labels)


def beta(count, alpha, seed):
    """`count` float32 draws from Beta(alpha, alpha), a function of `seed` (two Gamma draws: X / (X + Y))."""
    gammas = tf.random.stateless_gamma([2, count], seed, alpha=tf.constant(alpha, tf.float64), dtype=tf.float64)
    total = gammas[0] + gammas[1]
    return tf.cast(tf.where(total > 0, gammas[0] / total, 0.5), tf.float32)
