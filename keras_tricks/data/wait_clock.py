"""The time that training spends waiting for its input."""

import time

import numpy as np
import tensorflow as tf

from keras_tricks.utils.backend import on_tensorflow

EVERY_ONE, SHARE = 64, 16  # a graph times the first 64 elements, and then one of 16
PATTERN = 4096  # elements after which the sample repeats


class WaitClock:
    """Counts the seconds that a consumer waits for the next element of a dataset.

    On JAX and torch `fit` takes the elements in Python, where the clock is read.

    On TensorFlow `fit` takes them in a graph. There `zip` reads its three datasets in order: the first records when an
    element is requested, the last when it has arrived. Both use Python's clock, because deterministic TensorFlow
    rejects `tf.timestamp`. The sum is kept in Python and the functions return true, because TensorFlow 2.21 leaks any
    number but zero that is the only result of a `tf.numpy_function`. They are declared stateless: deterministic
    TensorFlow makes no element ahead in a dataset with a function that has a state. Calling Python from a graph costs
    up to a millisecond, so only a sample of many elements is timed, and its waits count sixteenfold. The others take
    their first and last number from a counter, which calls no function.

    Attributes:
        seconds: float, the total so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same dataset, timed."""
        return self._in_the_dataset(dataset) if on_tensorflow() else _Timed(dataset, self)

    def _in_the_dataset(self, dataset):
        requested = 0.0

        def on_request(_):
            nonlocal requested
            requested = time.perf_counter()
            return np.True_

        def on_arrival(count):
            self.seconds += (time.perf_counter() - requested) * (1 if count < EVERY_ONE else SHARE)
            return np.True_

        def calls(function):
            def call(count):
                return tf.ensure_shape(tf.numpy_function(function, [count], tf.bool, stateful=False), ())

            called = tf.data.Dataset.counter().filter(call)  # TensorFlow would call a `map` ahead of time
            return tf.data.Dataset.choose_from_datasets([tf.data.Dataset.counter(), called], _choices())

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a buffer after the clock would hide the wait
        timed = tf.data.Dataset.zip((calls(on_request), dataset, calls(on_arrival))).map(lambda _, element, __: element)
        return timed.apply(tf.data.experimental.assert_cardinality(dataset.cardinality())).with_options(options)


def is_timed(i):
    """Whether elements with these indices, an integer array, are part of the sample, which follows no short period."""
    hashed = i % PATTERN * 2_654_435_761 % 2**32  # Knuth's multiplicative hash
    return (i < EVERY_ONE) | (hashed < 2**32 // SHARE)


def _choices():
    """A dataset of 1 for each element that is timed and 0 for the others, without end."""
    first, later = np.split(is_timed(np.arange(2 * PATTERN)).astype("int64"), 2)
    return tf.data.Dataset.from_tensor_slices(first).concatenate(tf.data.Dataset.from_tensor_slices(later).repeat())


class _Timed(tf.data.Dataset):
    """The same dataset for a consumer that takes its elements in Python."""

    def __init__(self, dataset, clock):
        self.dataset, self.clock = dataset, clock
        super().__init__(tf.data.experimental.to_variant(dataset))

    @property
    def element_spec(self):
        return self.dataset.element_spec

    def _inputs(self):
        return [self.dataset]

    def __iter__(self):
        elements = iter(self.dataset)
        while True:
            requested = time.perf_counter()
            element = next(elements, None)
            self.clock.seconds += time.perf_counter() - requested
            if element is None:
                return
            yield element
