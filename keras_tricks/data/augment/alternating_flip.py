"""Alternating flip: an image is mirrored in every second epoch instead of by chance.

Formula    mirrored where coin(seed, example) + epoch is odd; coin is 0 or 1
Paper      Jordan 2024, arXiv:2404.00498, section 3.6 (airbench)
Recipe     alternating_flip: augment.flip=alternating
Use when   training for few epochs: two epochs in a row then show both sides of every image
Do not     expect a difference in long training
Cost       none
Differs    the coin of an example is a random number of its index; the paper's code flips a random half of the images in
           the first epoch
Status     not measured here
"""

import tensorflow as tf

SEED = 1_250_003  # offset that separates its random numbers from the others of the same example


def is_mirrored(seed: tf.Tensor, index: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Whether to mirror an example, a bool scalar.

    Args:
        seed, index: integer scalars, seed of the run and index of the example.
        epoch: integer scalar.
    """
    seeds = tf.stack([tf.cast(seed, tf.int64) + SEED, tf.cast(index, tf.int64)])
    coin = tf.random.stateless_uniform([], seeds) < 0.5
    return tf.math.logical_xor(coin, tf.cast(epoch, tf.int64) % 2 == 1)
