"""Balanced sampling: every class has the same share of the images of an epoch.

Formula    a shuffled position p of an epoch goes to class p mod C, as its image number p div C. The images of a class
           are passed through in shuffled order, again with another order when all were used
Paper      Kang et al. 2020, arXiv:1910.09217, section 3: "class-balanced sampling"
Recipe     balanced_sampling: data.sampling=balanced
Use when   rare classes matter as much as frequent ones, and an epoch has too few of their images
Do not     combine it with `loss.class_weight=balanced`, which counts rare classes twice
Cost       none; an epoch has as many images as before, so frequent classes lose images and rare ones repeat
Differs    classes are not drawn at random: their counts in an epoch of n images of C classes differ by one at most. A
           repeated image gets other random numbers each time
Status     order and counts are tested; no recipe uses it
"""

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.source import Split
from keras_tricks.utils.errors import UserError

CLASS_SEED = 700_001  # offset that separates the orders of the classes
PASS_STRIDE = 1_000_033  # separates the passes through a class in an epoch


def shuffle_index(position, order, epoch, total):
    """The index of the example at a position of an epoch, in the shuffled order of that epoch."""
    return tf.random.experimental.index_shuffle(position, seed=tf.stack([order, epoch]), max_index=total - 1)


class UniformOrder:
    """Every image of a split once in an epoch, in shuffled order."""

    def __init__(self, split: Split) -> None:
        self.total = split.num_examples

    def __call__(self, position, order, epoch) -> tuple[tf.Tensor, int]:
        """(index of the example at a position of an epoch, how often it was used in this epoch before)."""
        return shuffle_index(position, order, epoch, self.total), 0


class BalancedOrder:
    """As many images of each class in an epoch, in shuffled order. Classes without images do not count."""

    def __init__(self, split: Split) -> None:
        labels = np.asarray(split.labels)
        counts = np.unique(labels, return_counts=True)[1]
        with tf.init_scope():
            self.sorted = tf.constant(np.argsort(labels, kind="stable"), tf.int64)
            self.counts = tf.constant(counts, tf.int64)
            self.starts = tf.constant(np.cumsum(counts) - counts, tf.int64)
        self.total, self.classes = split.num_examples, len(counts)

    def __call__(self, position, order, epoch) -> tuple[tf.Tensor, tf.Tensor]:
        """(index of the example at a position of an epoch, how often it was used in this epoch before)."""
        place = shuffle_index(position, order, epoch, self.total)
        chosen, number = place % self.classes, place // self.classes
        count = tf.gather(self.counts, chosen)
        passed = number // count
        own = shuffle_index(number % count, order + CLASS_SEED * (chosen + 1), epoch + PASS_STRIDE * passed, count)
        return tf.gather(self.sorted, tf.gather(self.starts, chosen) + own), passed


def check_sampling(split: Split, sampling: str) -> None:
    """Raises `UserError` if the sampling needs labels, and those of the split are read with its images only."""
    if sampling == "balanced" and split.multi_label:
        raise UserError("`data.sampling=balanced` needs one label an image, and these images have several: leave it "
                        "out.")
    if sampling == "balanced" and (split.labels is None or split.fetch is None):
        raise UserError("`data.sampling=balanced` needs labels that are known before the images are read, and this "
                        "source reads them together. Pack the data: keras-tricks data pack.")


def order_of(split: Split, sampling: str) -> UniformOrder | BalancedOrder:
    """The order of a split's examples, `sampling` as `data.sampling` of a recipe: `"uniform"` or `"balanced"`."""
    return BalancedOrder(split) if sampling == "balanced" else UniformOrder(split)
