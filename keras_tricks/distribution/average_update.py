"""Averages of a model's variables on every replica, updated in one graph: `WeightEMA` under TensorFlow's strategies."""

import tensorflow as tf


def make_average_update(strategy, updates, averages, sources, last, decay):
    """A `tf.function` that moves each average towards its source: `average -= (1 - decay) * (average - source)`.

    It changes nothing unless the optimizer has made an update since the last call.

    Args:
        strategy: `tf.distribute.Strategy` of the model.
        updates: variable, number of updates of the optimizer.
        averages, sources: lists of `keras.Variable`s.
        last: variable, number of the last update in the averages.
        decay: function of the number of updates, a float32 scalar.
    """

    def blend(average, source, decay):
        source = tf.convert_to_tensor(source)
        average.assign_sub((average - source) * tf.cast(1.0 - decay, average.dtype))

    @tf.function
    def advance():
        count = tf.convert_to_tensor(updates)
        factor = tf.where(count > last.value, decay(tf.cast(count, tf.float32)), 1.0)
        for average, source in zip(averages, sources, strict=True):
            strategy.extended.update(average.value, blend, (source.value, factor))
        last.assign(count)

    return advance
