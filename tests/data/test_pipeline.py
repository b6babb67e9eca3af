import time

import numpy as np
import pytest
import tensorflow as tf
from support.batches import assert_same

from keras_tricks.data import WaitClock, evaluation_batches, evaluation_image, training_batches
from keras_tricks.data import training_examples as examples_in_order
from keras_tricks.data.augment import color, crops
from keras_tricks.data.sources.digits import array_split
from keras_tricks.data.wait_clock import EVERY_ONE, is_timed
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import Step, batch_size_plan

SIZE, CLASSES = 8, 5
RAW = Data(image_size=SIZE, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Augment(crop="none", flip=False)
EVERYTHING = Augment(color_jitter="gluoncv", pca_noise=0.1, mixup_alpha=0.4)


def numbered(count):
    """Image i is the constant i, its label i % CLASSES."""
    images = np.broadcast_to(np.arange(count)[:, None, None, None], (count, SIZE, SIZE, 3)).astype("uint8")
    return array_split(images, np.arange(count) % CLASSES)


def photographs(count, size=20):
    rng = np.random.default_rng(0)
    return array_split(rng.integers(0, 256, (count, size, size, 3), dtype="uint8"), np.arange(count) % CLASSES)


def batches(split, augment, data=RAW, batch_size=8, epochs=1, seed=4, start_epoch=0):
    dataset = training_batches(split, data, augment, CLASSES, plan(split, batch_size, epochs), seed,
                               range(start_epoch, epochs))
    return list(dataset.as_numpy_iterator())


def plan(split, batch_size, epochs=1, **growth):
    return batch_size_plan(0.1, batch_size, epochs, split.num_examples, **{"mode": "decay", **growth})


AUGMENTS = {
    "everything": EVERYTHING,
    "per sample": EVERYTHING.model_copy(update={"mixup_per": "sample", "color_jitter": "paper"}),
    "cifar": Augment(crop="pad", pad=2),
    "rand_augment": Augment(rand_augment_layers=2, rand_augment_probability=0.8),
    "nfnet": Augment(rand_augment_layers=2, mixup_alpha=0.2, cutmix_alpha=1.0, mixup_per="sample", mix_first=True),
    "either": Augment(mixup_alpha=0.2, cutmix_alpha=1.0, mix_both="either", mix_off_epoch=1),
}


def augments(*fast):
    """The cases of `AUGMENTS`: those named run by default, the others with `-m slow`."""
    cases = [pytest.param(augment, id=name, marks=() if name in fast else pytest.mark.slow)
             for name, augment in AUGMENTS.items()]
    return pytest.mark.parametrize("augment", cases)


@augments("everything", "cifar", "nfnet")
def test_one_worker_and_four_give_the_same_bits(augment):
    split = photographs(40)
    one, four, chosen = (
        batches(split, augment, RAW.model_copy(update={"workers": n}), epochs=2) for n in (1, 4, 0)
    )
    assert_same(one, four)
    assert_same(one, chosen)


@augments("everything", "either")
def test_a_resumed_stream_is_the_tail_of_an_uninterrupted_one(augment):
    split = photographs(37)  # 4 steps of 8, five images left out in each epoch
    whole = batches(split, augment, epochs=4)
    assert len(whole) == 16
    assert_same(whole[8:], batches(split, augment, epochs=4, start_epoch=2))


def test_another_seed_gives_other_pixels_mixtures_and_order():
    split = photographs(16)
    (x, y), *_ = batches(split, EVERYTHING, seed=1)
    (x2, y2), *_ = batches(split, EVERYTHING, seed=2)
    assert np.abs(x - x2).max() > 1 and np.abs(y - y2).max() > 0.01


def test_every_epoch_is_another_permutation():
    count, epochs, size = 43, 6, 10
    order = np.concatenate([x[:, 0, 0, 0] for x, _ in batches(numbered(count), PLAIN, batch_size=size, epochs=epochs)])
    order = order.astype(int).reshape(epochs, 40)
    assert all(len(set(epoch)) == 40 for epoch in order)  # no example occurs twice
    assert set(order.ravel()) == set(range(count))  # an epoch does not always leave out the same ones
    assert len({epoch.tobytes() for epoch in order}) == epochs
    assert all((np.sort(epoch) != epoch).any() for epoch in order)


def test_augmentation_of_an_image_changes_from_epoch_to_epoch():
    split = array_split(photographs(1).fetch(0)[0][None], [0])
    views = [x[0] for x, _ in batches(split, Augment(), batch_size=1, epochs=6)]
    assert len({v.tobytes() for v in views}) == 6


def test_label_stays_with_its_image():
    for images, labels in batches(numbered(43), PLAIN, epochs=2):
        np.testing.assert_array_equal(labels.argmax(axis=1), images[:, 0, 0, 0].astype(int) % CLASSES)
        np.testing.assert_array_equal(labels.sum(axis=1), 1.0)


def test_half_of_the_images_are_flipped():
    image = np.zeros((1, SIZE, SIZE, 3), "uint8")
    image[0, :, : SIZE // 2] = 200
    views = batches(array_split(image, [0]), Augment(crop="none", flip=True), batch_size=1, epochs=400)
    flipped = [bool(x[0, 0, -1, 0] == 200) for x, _ in views]
    assert all((x[0] == (image[0][:, ::-1] if f else image[0])).all() for (x, _), f in zip(views, flipped, strict=True))
    assert 160 < sum(flipped) < 240


def test_pca_noise_is_one_colour_per_image_of_the_right_spread():
    split = array_split(np.full((1, SIZE, SIZE, 3), 100, "uint8"), [0])
    noisy = batches(split, PLAIN.model_copy(update={"pca_noise": 0.1}), batch_size=1, epochs=1500)
    added = np.stack([x[0] for x, _ in noisy]) - 100
    assert np.ptp(added, axis=(1, 2)).max() < 1e-3
    alphas = added[:, 0, 0] @ np.linalg.inv(np.array(color.PCA_EIGENVECTORS).T) / np.array(color.PCA_EIGENVALUES)
    np.testing.assert_allclose(alphas.std(axis=0), 0.1, rtol=0.08)
    np.testing.assert_allclose(alphas.mean(axis=0), 0.0, atol=0.01)


def test_mixup_mixes_the_pixels_and_the_labels():
    plain = batches(numbered(40), PLAIN, epochs=2)
    mixed = batches(numbered(40), PLAIN.model_copy(update={"mixup_alpha": 1.0}), epochs=2)
    lambdas = []
    for (images, labels), (mixed_images, mixed_labels) in zip(plain, mixed, strict=True):
        own, partner = images[:, 0, 0, 0], images[::-1, 0, 0, 0]
        lam = (mixed_images[0, 0, 0, 0] - partner[0]) / (own[0] - partner[0])
        np.testing.assert_allclose(mixed_images[:, 0, 0, 0], lam * own + (1 - lam) * partner, atol=1e-3)
        np.testing.assert_allclose(mixed_labels, lam * labels + (1 - lam) * labels[::-1], atol=1e-3)
        lambdas.append(round(float(lam), 4))
    assert len(set(lambdas)) == len(mixed)  # a new lambda in every batch


@pytest.mark.parametrize("training", [True, False])
def test_normalization_is_that_of_the_paper(training):
    data = Data(image_size=SIZE, eval_crop="whole")
    split = array_split(np.full((4, SIZE, SIZE, 3), 200, "uint8"), [0] * 4)
    if training:
        ((images, _),) = batches(split, PLAIN, data, batch_size=4)
    else:
        ((images, _, _),) = evaluation_batches(split, data, CLASSES, 4).as_numpy_iterator()
    expected = [(200 - 123.68) / 58.393, (200 - 116.779) / 57.12, (200 - 103.939) / 57.375]
    np.testing.assert_allclose(images, np.broadcast_to(expected, images.shape), rtol=1e-6)


def test_shapes_types_and_length_are_known():
    split = numbered(43)
    train = training_batches(split, RAW, EVERYTHING, CLASSES, plan(split, 10, 5), 0, range(2, 5))
    assert len(train) == 3 * 4
    images, labels = train.element_spec
    assert (images.shape, images.dtype) == ((10, SIZE, SIZE, 3), "float32")
    assert (labels.shape, labels.dtype) == ((10, CLASSES), "float32")
    assert len(evaluation_batches(numbered(43), RAW, CLASSES, 10)) == 5
    assert len(evaluation_batches(numbered(40), RAW, CLASSES, 10)) == 4


def test_the_batch_grows_and_no_example_is_lost_or_seen_twice():
    """43 examples in batches of 5, 10 and 20: every epoch has another order and drops the incomplete batch."""
    split = numbered(43)
    growing = plan(split, 5, 4, mode="increase_batch", decay=Step((1, 2), 0.5), max_batch_size=20)
    dataset = training_batches(split, RAW, PLAIN, CLASSES, growing, 4)
    found = list(dataset.as_numpy_iterator())
    assert [len(x) for x, _ in found] == [5] * 8 + [10] * 4 + [20] * 2 + [20] * 2 and len(dataset) == 16
    assert dataset.element_spec[0].shape == (None, SIZE, SIZE, 3)
    for epoch, (start, stop) in enumerate(((0, 8), (8, 12), (12, 14), (14, 16))):
        seen = np.concatenate([x[:, 0, 0, 0] for x, _ in found[start:stop]])
        assert len(set(seen)) == len(seen) == 40
        part = training_batches(split, RAW, PLAIN, CLASSES, growing, 4, range(epoch, 4))
        assert_same(found[start:], list(part.as_numpy_iterator()))
    constant = batches(split, PLAIN, batch_size=20, epochs=4)
    assert_same(found[12:], constant[4:])  # the same order as in a run that has this size in all epochs


def test_mixing_continues_across_a_change_of_size():
    split = photographs(43)
    growing = plan(split, 5, 3, mode="increase_batch", decay=Step((1, 2), 0.5), max_batch_size=20)
    whole = list(training_batches(split, RAW, EVERYTHING, CLASSES, growing, 4).as_numpy_iterator())
    resumed = training_batches(split, RAW, EVERYTHING, CLASSES, growing, 4, range(1, 3))
    assert_same(whole[8:], list(resumed.as_numpy_iterator()))


def test_training_and_evaluation_may_have_different_sizes():
    data = Data(image_size=8, test_image_size=12, short_side=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    split = photographs(8, size=32)
    assert batches(split, Augment(), data)[0][0].shape == (8, 8, 8, 3)
    assert next(evaluation_batches(split, data, CLASSES, 8).as_numpy_iterator())[0].shape == (8, 12, 12, 3)


def test_evaluation_is_in_order_and_ends_with_a_padded_batch():
    found = list(evaluation_batches(numbered(23), RAW, CLASSES, 10).as_numpy_iterator())
    assert [len(images) for images, _, _ in found] == [10, 10, 10]
    images, labels, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    np.testing.assert_array_equal(images[:23, 0, 0, 0], np.arange(23))
    np.testing.assert_array_equal(labels[:23].argmax(axis=1), np.arange(23) % CLASSES)
    assert weights.dtype == "float32" and list(weights) == 23 * [1.0] + 7 * [0.0]


@pytest.mark.parametrize("label", [CLASSES, -1])
def test_a_label_out_of_range_is_an_error_that_names_the_range(label):
    split = array_split(np.zeros((4, SIZE, SIZE, 3), "uint8"), [0, 1, label, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{label} is not in \[0, {CLASSES}\)"):
        batches(split, PLAIN, batch_size=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{label} is not in \[0, {CLASSES}\)"):
        list(evaluation_batches(split, RAW, CLASSES, 2))


# ---- the clock


def slow(seconds, count=10):
    def wait(i):
        time.sleep(seconds)
        return i

    def element(i):
        i = tf.ensure_shape(tf.numpy_function(wait, [i], tf.int64), ())
        return {"number": i, "twice": 2 * i}

    return tf.data.Dataset.range(count).map(element)


def test_the_clock_counts_the_wait_for_slow_elements_and_leaves_them_alone():
    clock = WaitClock()
    watched = clock.watch(slow(0.02))
    assert len(watched) == 10 and watched.element_spec == slow(0.02).element_spec
    start = time.perf_counter()
    elements = list(watched.as_numpy_iterator())
    assert 0.15 < clock.seconds <= time.perf_counter() - start
    assert [(int(e["number"]), int(e["twice"])) for e in elements] == [(i, 2 * i) for i in range(10)]


def test_the_clock_of_many_elements_is_a_sample():
    timed = is_timed(np.arange(10_000))
    assert timed[:EVERY_ONE].all() and 0.05 < timed[EVERY_ONE:].mean() < 0.075
    assert all(0.03 < timed[EVERY_ONE + phase :: 8].mean() < 0.1 for phase in range(8)), "no period of 8 batches"
    clock = WaitClock()
    elements = list(clock.watch(slow(0.002, 400)).as_numpy_iterator())
    assert [int(e["number"]) for e in elements] == list(range(400))
    assert clock.seconds > 0.4


def test_the_clock_of_a_consumer_in_python(monkeypatch):
    """On JAX and torch `fit` takes the elements in Python."""
    monkeypatch.setattr("keras_tricks.data.wait_clock.on_tensorflow", lambda: False)
    test_the_clock_counts_the_wait_for_slow_elements_and_leaves_them_alone()
    test_the_clock_does_not_count_a_slow_consumer()
    watched = WaitClock().watch(slow(0.0).batch(2))
    assert isinstance(watched, tf.data.Dataset) and watched.cardinality() == 5
    assert [e["number"].tolist() for e in watched.as_numpy_iterator()] == [[i, i + 1] for i in range(0, 10, 2)]
    assert len(list(watched)) == len(list(watched)) == 5, "each iteration begins again"


def test_the_clock_does_not_count_a_slow_consumer():
    clock = WaitClock()
    for _ in clock.watch(tf.data.Dataset.range(10)):
        time.sleep(0.02)
    assert clock.seconds < 0.1


def test_the_clock_sees_that_prefetching_hides_the_work():
    clock = WaitClock()
    for i, _ in enumerate(clock.watch(slow(0.05).prefetch(10))):
        time.sleep(1.0 if i == 0 else 0)  # everything is ready after the first
    assert clock.seconds < 0.3  # of half a second


def test_the_clock_works_under_determinism_and_changes_no_batch():
    from tensorflow.python.framework import config

    config.enable_op_determinism()
    try:
        tf.random.set_seed(0)
        clock = WaitClock()
        split = photographs(16)
        watched = clock.watch(training_batches(split, RAW, EVERYTHING, CLASSES, plan(split, 8), 0))
        assert_same(list(watched.as_numpy_iterator()), batches(split, EVERYTHING, seed=0))
        assert clock.seconds > 0
    finally:
        config.disable_op_determinism()


def test_mixing_ends_at_its_epoch():
    mixed = batches(numbered(40), PLAIN.model_copy(update={"mixup_alpha": 1.0, "mix_off_epoch": 1}), epochs=2)
    one_hot = [bool(np.isin(y, (0, 1)).all()) for _, y in mixed]
    assert not any(one_hot[:5]) and all(one_hot[5:])
    plain = batches(numbered(40), PLAIN, epochs=2)
    assert_same(mixed[5:], plain[5:])


def test_partners_come_from_a_second_order_of_the_data():
    """With `mix_first`, image i of an epoch is i times lambda plus another example; every example occurs twice."""
    augment = PLAIN.model_copy(update={"mixup_alpha": 1.0, "mixup_per": "sample", "mix_first": True})
    split = array_split(np.zeros((40, SIZE, SIZE, 3), "uint8"), np.arange(40))
    dataset = training_batches(split, RAW, augment, 40, plan(split, 8), 4)
    labels = np.concatenate([y for _, y in dataset.as_numpy_iterator()])
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, atol=1e-6)
    assert sum((row > 0).sum() == 2 for row in labels) > 30
    assert ((labels > 0).sum(axis=0) >= 1).all() and (labels > 0).sum() > 70


def test_rand_augment_sees_what_mixing_made():
    """With `mix_first` the operations run on the mixture, so that posterized pixels have few values."""
    split = photographs(40)
    first = Augment(crop="none", flip=False, mixup_alpha=1.0, mix_first=True, rand_augment_layers=1)
    last = first.model_copy(update={"mix_first": False})
    whole = [np.concatenate([x for x, _ in batches(split, a)]) for a in (first, last)]
    assert all((whole[0] == whole[0].round()).all(axis=(1, 2, 3)))
    assert not (whole[1] == whole[1].round()).all()


EVAL_CROPS = {
    "short_side": lambda x: crops.short_side_crop(x, 12, 14, interpolation="bicubic"),
    "center": lambda x: crops.center_crop(x, 12, 0.8, interpolation="bicubic"),
    "squash": lambda x: crops.squash_crop(x, 12, 6, interpolation="bicubic"),
    "whole": lambda x: crops.resize_whole(x, 12, interpolation="bicubic"),
}


@pytest.mark.parametrize("name", EVAL_CROPS)
def test_the_evaluation_crop_is_the_one_the_recipe_names(name):
    data = Data(image_size=8, test_image_size=12, eval_crop=name, short_side=14, crop_pct=0.8, crop_padding=6,
                interpolation="bicubic")
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8"))
    found = {n: evaluation_image(image, data.model_copy(update={"eval_crop": n})).numpy() for n in EVAL_CROPS}
    np.testing.assert_array_equal(found[name], EVAL_CROPS[name](image))
    assert all((found[name] != other).any() for n, other in found.items() if n != name)


def test_examples_come_in_the_order_of_training():
    """The batch size divides the split, so that training leaves none out."""
    split = numbered(40)
    trained = np.concatenate([x[:, 0, 0, 0] for x, _ in batches(split, PLAIN, epochs=3, start_epoch=1)])
    read = [int(image[0, 0, 0]) for image, _, _ in examples_in_order(split, range(1, 3), 4).as_numpy_iterator()]
    assert read == trained.astype(int).tolist()


def test_the_clock_lets_the_input_work_ahead_under_determinism():
    """With a function that has a state TensorFlow would make each batch only when it is asked for."""
    from tensorflow.python.framework import config

    made = []

    def make(i):
        made.append(i)
        return i

    ahead = tf.data.Dataset.range(10).map(lambda i: tf.numpy_function(make, [i], tf.int64, stateful=False)).prefetch(4)
    config.enable_op_determinism()
    try:
        elements = iter(WaitClock().watch(ahead))
        next(elements)
        until = time.monotonic() + 10
        while len(made) < 5 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(made) >= 5
    finally:
        config.disable_op_determinism()


def test_an_iterator_ends_at_once():
    """tf.data's autotuning sleeps in a thread for which the end of an iterator waits, for seconds during a run."""
    split = photographs(16)
    training = training_batches(split, RAW, PLAIN, CLASSES, plan(split, 8), 0)
    for dataset in (training, WaitClock().watch(training), evaluation_batches(split, RAW, CLASSES, 8)):
        assert dataset.options().autotune.enabled is False
