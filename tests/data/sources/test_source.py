import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

tf = pytest.importorskip("tensorflow")

from keras_tricks.data import open_source  # noqa: E402
from keras_tricks.data.sources.source import Split  # noqa: E402
from keras_tricks.utils.errors import UserError  # noqa: E402


def numbered(count, **changes):
    """A split whose image and label are its index."""
    return Split(num_examples=count, **{"fetch": lambda i: (i, i, True), **changes})


def chosen(split):
    return [int(split.fetch(i)[1]) for i in range(split.num_examples)]


@settings(deadline=None)
@given(st.integers(1, 300).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_examples_are_in_order_distinct_and_evenly_spaced(sizes):
    total, count = sizes
    indices = chosen(numbered(total).take(count))
    gaps = np.diff([*indices, total + indices[0]])
    assert len(indices) == count and indices[0] >= 0 and indices[-1] < total
    assert gaps.min() >= total // count >= 1 and gaps.max() <= -(-total // count)


@pytest.mark.parametrize("count, classes, taken", [(50_000, 10, 10_000), (1_281_000, 1000, 50_000), (100, 10, 37)])
def test_examples_sorted_by_class_stay_balanced(count, classes, taken):
    indices = np.arange(taken)
    labels = np.asarray(numbered(count).take(taken).fetch(indices)[1]) // (count // classes)
    counts = np.bincount(labels, minlength=classes)
    assert counts.min() >= taken // classes and counts.max() <= -(-taken // classes)


def test_all_examples_are_the_split_itself():
    assert chosen(numbered(7).take(7)) == list(range(7))


def test_taking_twice():
    assert chosen(numbered(12).take(6).take(3)) == [0, 4, 8]


def test_file_names_follow_their_examples():
    paths = tuple(f"{i}.png" for i in range(10))
    split = numbered(10, paths=paths).take(4)
    assert split.paths == tuple(f"{i}.png" for i in chosen(split)) == ("0.png", "2.png", "5.png", "7.png")
    assert numbered(10).take(4).paths == ()


def test_the_count_of_broken_images_is_shared():
    bad = object()
    assert numbered(10, bad=bad).take(4).bad is bad


def test_inside_a_data_set():
    """With the int64 indices of `Dataset.range`, in a graph. The product of both sizes exceeds int32."""
    count, total = 60_000, 1_281_167
    split = numbered(total).take(count)
    last = tf.data.Dataset.range(count - 3, count).map(lambda i: split.fetch(i)[1])
    assert [int(i) for i in last] == [i * total // count for i in range(count - 3, count)]


def test_digits_stay_balanced():
    split = open_source("digits").train.take(400)
    labels = split.fetch(tf.range(400, dtype=tf.int64))[1].numpy()
    counts = np.bincount(labels, minlength=10)
    assert len(labels) == 400 and counts.min() >= 30 and counts.max() <= 50


def test_more_than_there_are():
    with pytest.raises(UserError, match="`data.train_images` is 1,198 but the split has 1,197 examples"):
        numbered(1197).take(1198)


def test_a_stream_is_refused_with_what_to_do():
    stream = Split(num_examples=100, scan=lambda epoch, seed: tf.data.Dataset.range(100))
    with pytest.raises(UserError, match=r"`data.train_images` needs examples.*--set data.train_split=.train\[:20%\]"):
        stream.take(20)
