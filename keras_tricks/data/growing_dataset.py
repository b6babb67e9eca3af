"""Data sets whose batch size follows a plan, one epoch at a time: `BatchSizeScheduler.batch` on TensorFlow."""

import tensorflow as tf

from keras_tricks.utils.errors import UserError


def size_of(examples, hint):
    """The number of single examples in a `tf.data.Dataset`; `None` if it is unknown.

    Raises:
        UserError: it is infinite, or its shapes show that it is batched; `hint` is added to that message.
    """
    count = int(examples.cardinality())
    if count >= 0:
        return count
    if count == tf.data.INFINITE_CARDINALITY:
        raise UserError("`examples` is infinite: pass one epoch, without `.repeat()`.")
    # The length is unknown (a generator, a filter): only the shapes can show that it is batched.
    if all(s.shape.rank and s.shape[0] is None for s in tf.nest.flatten(examples.element_spec)):
        raise UserError(f"The first dimension of `examples` has no fixed size. {hint}")
    return None


def batches_of_dataset(plan, state, examples, phase):
    """Batches of a `tf.data.Dataset` of single examples.

    Args:
        plan: `BatchSizePlan`.
        state: int32 variable, the current epoch, read at the start of each.
        phase: phase of the plan, for batches of only that phase; `None`: all phases.
    """

    def one_epoch(size, steps):
        return examples.batch(size, drop_remainder=True).take(steps)

    if phase is not None:
        return _finished(one_epoch(phase.step_size, phase.steps_per_epoch), phase)
    return _finished(tf.data.Dataset.range(1).flat_map(lambda _: one_epoch(*_of_epoch(plan, state.value))))


def batches_of_arrays(plan, state, arrays, phase, shuffle, seed):
    """As `batches_of_dataset`, of a tuple of arrays. Their order depends on `seed` and the epoch if `shuffle`."""
    tensors = [tf.constant(a) for a in arrays]  # outside the graph, which is limited to 2 GB

    def one_epoch(_):
        epoch = state.value
        size, steps = (phase.step_size, phase.steps_per_epoch) if phase else _of_epoch(plan, epoch)
        return _rows(tensors, epoch, size, steps, shuffle, seed)

    return _finished(tf.data.Dataset.range(1).flat_map(one_epoch), phase)


def _of_epoch(plan, epoch):
    """Batch size and number of steps of an epoch, int64 scalars."""
    stops = tf.constant([p.epochs.stop for p in plan], tf.int64)
    index = tf.minimum(tf.reduce_sum(tf.cast(tf.cast(epoch, tf.int64) >= stops, tf.int32)), len(plan) - 1)
    return (tf.gather(tf.constant([p.step_size for p in plan], tf.int64), index),
            tf.gather(tf.constant([p.steps_per_epoch for p in plan], tf.int64), index))


def _rows(tensors, epoch, size, steps, shuffle, seed):
    """Batches of rows of the tensors, in the order of `epoch`, a scalar."""
    order = tf.range(len(tensors[0]), dtype=tf.int64)
    if shuffle:
        order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int32), epoch]))
    positions = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True).take(steps)

    def gather(chosen):
        rows = tuple(tf.gather(tensor, chosen) for tensor in tensors)
        return rows if len(rows) > 1 else rows[0]

    return positions.map(gather, tf.data.AUTOTUNE, deterministic=True)


def _finished(batches, phase=None):
    if phase is not None:
        batches = batches.apply(tf.data.experimental.assert_cardinality(phase.steps_per_epoch))
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
