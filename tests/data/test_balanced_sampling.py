"""Balanced sampling: as many images of each class in an epoch, as a function of (seed, epoch, position)."""

import numpy as np
import pytest
import tensorflow as tf
from support.image_folders import DATA, PLAIN, value

from keras_tricks.data import as_source, batch_indices, training_batches
from keras_tricks.data.balanced_sampling import BalancedOrder, UniformOrder, order_of, shuffle_index
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.sources.source import Split
from keras_tricks.recipe import Augment
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

COUNTS = (70, 20, 0, 9, 1)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), COUNTS)).astype("int32")
X = np.broadcast_to(np.arange(100, dtype="uint8")[:, None, None, None], (100, 16, 16, 3))
BALANCED = DATA.model_copy(update={"sampling": "balanced"})


def epoch_of(epoch, order=3):
    index_at = BalancedOrder(array_split(X, LABELS))
    positions = tf.data.Dataset.range(100).map(lambda p: index_at(p, order, tf.constant(epoch, tf.int64)))
    return np.array(list(positions.as_numpy_iterator()))


def batches(data=BALANCED, augment=PLAIN, batch_size=20, split=None, **options):
    split = split or array_split(X, LABELS)
    plan = batch_size_plan(0.1, batch_size, 2, split.num_examples, mode="decay")
    return list(training_batches(split, data, augment, 5, plan, 7, **options).as_numpy_iterator())


def test_classes_have_the_same_share():
    indices, passes = epoch_of(0).T
    counts = np.bincount(LABELS[indices], minlength=5)
    assert counts.tolist() == [25, 25, 0, 25, 25]


def test_images_repeat_as_little_as_possible():
    indices, passes = epoch_of(0).T
    for label, count in enumerate(COUNTS):
        if count:
            times = np.bincount(indices[LABELS[indices] == label], minlength=100)[LABELS == label]
            assert times.max() - times.min() <= 1 and times.sum() == 25
    assert len(set(zip(indices.tolist(), passes.tolist(), strict=True))) == 100  # no two with the same random numbers


def test_epochs_and_seeds_have_other_images_and_orders():
    first, second, other = (epoch_of(*arguments)[:, 0] for arguments in ((0,), (1,), (0, 4)))
    assert (first != second).any() and (first != other).any()
    frequent = [set(indices[LABELS[indices] == 0].tolist()) for indices in (first, second)]
    assert frequent[0] != frequent[1]
    np.testing.assert_array_equal(first, epoch_of(0)[:, 0])


def test_every_image_of_a_frequent_class_is_seen_in_time():
    seen = {index for epoch in range(20) for index in epoch_of(epoch)[:, 0]}
    assert seen == set(range(100))


def test_batches_follow_the_order():
    made = batches()
    plan = batch_size_plan(0.1, 20, 2, 100, mode="decay")
    split = array_split(X, LABELS)
    for step, (images, labels) in enumerate(made):
        indices = batch_indices(split, plan, 7, step // 5, step % 5, sampling="balanced")
        assert value(images).tolist() == indices and labels.argmax(axis=1).tolist() == LABELS[indices].tolist()
    assert sum(labels for _, labels in made).sum(axis=0).tolist() == [50, 50, 0, 50, 50]


def test_the_rest_of_an_epoch_and_parts():
    whole, rest = batches(), batches(first_step=3)
    for (x, _), (other, _) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(x, other)
    for (x, _), *made in zip(whole, *(batches(part=part, parts=2) for part in range(2)), strict=True):
        assert sorted(value(x)) == sorted(value(np.concatenate([images for images, _ in made])))


def test_repeated_images_are_augmented_differently():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 16, 16, 3), dtype="uint8")
    made = batches(augment=Augment(crop="pad", pad=4), split=array_split(pixels, LABELS))
    single = [image.tobytes() for x, y in made[:5] for image, label in zip(x, y.argmax(1), strict=True) if label == 4]
    assert len(single) == 25 and len(set(single)) > 15  # 162 crops and flips of one image


def test_uniform_is_the_default_and_unchanged():
    split = array_split(X, LABELS)
    assert DATA.sampling == "uniform" and isinstance(order_of(split, "uniform"), UniformOrder)
    indices = [int(order_of(split, "uniform")(tf.constant(p, tf.int64), 7, 1)[0]) for p in range(5)]
    assert indices == [int(shuffle_index(tf.constant(p, tf.int64), 7, 1, 100)) for p in range(5)]


def test_labels_that_are_not_known():
    class Photos:
        class_names = ("a", "b")

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return X[index], index % 2

    with pytest.raises(UserError, match="data.sampling=balanced. needs labels .* keras-tricks data pack"):
        batches(split=as_source((Photos(), Photos())).train)
    with pytest.raises(UserError, match="data.sampling=balanced"):
        batches(split=Split(20, scan=lambda epoch, seed: None))
