"""The time that training spends waiting for its input."""

import time

import numpy as np
import tensorflow as tf


class WaitClock:
    """Counts the seconds that a consumer waits for the next element of a dataset.

    `zip` reads its three datasets in order: the first records when an element is requested, the last when it has
    arrived. Both use Python's clock, because deterministic TensorFlow rejects `tf.timestamp`. The sum is kept in Python
    and the functions return zero, because TensorFlow 2.21 leaks any other number that is the only result of a
    `tf.numpy_function`.

    Attributes:
        seconds: float, the total so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same dataset, timed."""
        requested = 0.0

        def on_request(_):
            nonlocal requested
            requested = time.perf_counter()
            return np.int64(0)

        def on_arrival(_):
            self.seconds += time.perf_counter() - requested
            return np.int64(0)

        def calls(function):
            return tf.data.Dataset.counter().map(lambda i: tf.numpy_function(function, [i], tf.int64))

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a buffer after the clock would hide the wait
        timed = tf.data.Dataset.zip((calls(on_request), dataset, calls(on_arrival))).map(lambda _, element, __: element)
        return timed.apply(tf.data.experimental.assert_cardinality(dataset.cardinality())).with_options(options)
