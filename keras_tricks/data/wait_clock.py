"""How long training waits for its input."""

import time

import numpy as np
import tensorflow as tf


class WaitClock:
    """Counts the seconds a consumer waits for a dataset's next element.

    The three datasets of a `zip` are asked in order, so the first notes when an element is wanted and the last one when
    it is there. (By Python's clock, because deterministic TensorFlow refuses `tf.timestamp`; and the sum is
    Python's too, because TensorFlow 2.21 keeps every number, zero apart, that is all a `tf.numpy_function` returns.)
    """

    def __init__(self):
        self.seconds = 0.0

    def watch(self, dataset):
        """The same dataset, timed."""
        asked = 0.0

        def ask(_):
            nonlocal asked
            asked = time.perf_counter()
            return np.int64(0)

        def arrive(_):
            self.seconds += time.perf_counter() - asked
            return np.int64(0)

        def calls(function):
            return tf.data.Dataset.counter().map(lambda i: tf.numpy_function(function, [i], tf.int64))

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a buffer behind the clock would hide the wait
        timed = tf.data.Dataset.zip((calls(ask), dataset, calls(arrive))).map(lambda _, element, __: element)
        return timed.apply(tf.data.experimental.assert_cardinality(dataset.cardinality())).with_options(options)
