"""Batches whose size follows a plan: the data half of `BatchSizeScheduler`, on TensorFlow and on arrays elsewhere.

This file is not in `data/`, because `data/` needs TensorFlow.
"""

import keras
import numpy as np

from keras_tricks.utils.errors import UserError

BATCHED = "If it is already batched, pass single examples: the scheduler batches them."


def growing_batches(scheduler, examples, phase, shuffle, seed):
    """See `BatchSizeScheduler.batch`."""
    if not hasattr(examples, "element_spec"):
        arrays = _checked_arrays(examples, scheduler.plan)
        if keras.backend.backend() == "tensorflow":
            return _batches_of_arrays(scheduler, arrays, phase, shuffle, seed)
        return ArrayBatches(scheduler, arrays, phase, shuffle, seed)
    if keras.backend.backend() != "tensorflow":
        raise UserError("On backends other than TensorFlow, BatchSizeScheduler.batch takes only arrays.")
    return _batches_of_dataset(scheduler, examples, phase)


# --- checks ---------------------------------------------------------------------------------------------------------


def _checked_arrays(examples, plan):
    examples = examples if isinstance(examples, tuple) else (examples,)
    if not all(getattr(a, "shape", ()) for a in examples):
        raise UserError("`examples` must be a tf.data.Dataset of single examples, an array, or a tuple of arrays such "
                        f"as (x, y). Received: {[type(a).__name__ for a in examples]}")
    examples = tuple(np.asarray(a) for a in examples)
    _check_size(len(examples[0]), plan)
    if any(len(a) != len(examples[0]) for a in examples):
        raise UserError(f"`examples` must have equal first dimensions. Received: {[a.shape for a in examples]}")
    return examples


def _check_dataset(dataset, plan):
    import tensorflow as tf

    count = int(dataset.cardinality())
    if count >= 0:
        _check_size(count, plan)
    elif count == tf.data.INFINITE_CARDINALITY:
        raise UserError("`examples` is infinite: pass one epoch, without `.repeat()`.")
    # The length is unknown (a generator, a filter): only the shapes can show that it is batched.
    elif all(s.shape.rank and s.shape[0] is None for s in tf.nest.flatten(dataset.element_spec)):
        raise UserError(f"The first dimension of `examples` has no fixed size. {BATCHED}")


def _check_size(count, plan):
    if count != plan.dataset_size:
        hint = f" {BATCHED}" if count < plan.dataset_size else ""
        raise UserError(f"`examples` has {count:,} elements, but the plan is for dataset_size="
                        f"{plan.dataset_size:,}.{hint}")


# --- TensorFlow -----------------------------------------------------------------------------------------------------


def _batches_of_dataset(scheduler, examples, phase):
    import tensorflow as tf

    _check_dataset(examples, scheduler.plan)
    state = scheduler.epoch_variable()

    def one_epoch(size, steps):
        return examples.batch(size, drop_remainder=True).take(steps)

    if phase is not None:
        return _finished(one_epoch(phase.step_size, phase.steps_per_epoch), phase)
    return _finished(tf.data.Dataset.range(1).flat_map(lambda _: one_epoch(*_of_epoch(scheduler.plan, state.value))))


def _batches_of_arrays(scheduler, arrays, phase, shuffle, seed):
    import tensorflow as tf

    tensors = [tf.constant(a) for a in arrays]  # outside the graph, which is limited to 2 GB
    state = scheduler.epoch_variable()

    def one_epoch(_):
        epoch = state.value
        size, steps = (phase.step_size, phase.steps_per_epoch) if phase else _of_epoch(scheduler.plan, epoch)
        return _rows(tensors, epoch, size, steps, shuffle, seed)

    return _finished(tf.data.Dataset.range(1).flat_map(one_epoch), phase)


def _of_epoch(plan, epoch):
    """Batch size and number of steps of an epoch, int64 scalars."""
    import tensorflow as tf

    stops = tf.constant([p.epochs.stop for p in plan], tf.int64)
    index = tf.minimum(tf.reduce_sum(tf.cast(tf.cast(epoch, tf.int64) >= stops, tf.int32)), len(plan) - 1)
    return (tf.gather(tf.constant([p.step_size for p in plan], tf.int64), index),
            tf.gather(tf.constant([p.steps_per_epoch for p in plan], tf.int64), index))


def _rows(tensors, epoch, size, steps, shuffle, seed):
    """Batches of rows of the tensors, in the order of `epoch`, a scalar."""
    import tensorflow as tf

    order = tf.range(len(tensors[0]), dtype=tf.int64)
    if shuffle:
        order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int32), epoch]))
    positions = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True).take(steps)

    def gather(chosen):
        rows = tuple(tf.gather(tensor, chosen) for tensor in tensors)
        return rows if len(rows) > 1 else rows[0]

    return positions.map(gather, tf.data.AUTOTUNE, deterministic=True)


def _finished(batches, phase=None):
    import tensorflow as tf

    if phase is not None:
        batches = batches.apply(tf.data.experimental.assert_cardinality(phase.steps_per_epoch))
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


# --- other backends -------------------------------------------------------------------------------------------------


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays without TensorFlow, for the scheduler's current epoch, by index."""

    def __init__(self, scheduler, arrays, phase, shuffle, seed):
        super().__init__()
        self.scheduler, self.arrays, self.only = scheduler, arrays, phase
        self.shuffle, self.seed = shuffle, seed
        self.ordered, self.served = None, 0
        scheduler.served = False

    def on_epoch_begin(self):
        self.served = 0

    @property
    def phase(self):
        """The phase of the current epoch; `None` before the first epoch."""
        return self.only or self.scheduler.phase

    @property
    def num_batches(self):
        """Batches in the current epoch; before the first one those in the longest, which `fit` takes as the maximum."""
        if self.phase is None:
            return max(p.steps_per_epoch for p in self.scheduler.plan)
        return self.phase.steps_per_epoch

    def __getitem__(self, index):
        # Ignores `index` and keeps the order of the plan: `fit` shuffles indices, and micro-batches belong together.
        phase = self.phase or self.scheduler.plan.phase(0)
        rows = self._order(self.scheduler.epoch)[self.served * phase.step_size : (self.served + 1) * phase.step_size]
        self.served += 1
        self.scheduler.served = True
        batch = tuple(array[rows] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]

    def _order(self, epoch):
        if self.ordered is None or self.ordered[0] != epoch:
            count = len(self.arrays[0])
            order = np.random.default_rng((self.seed, epoch)).permutation(count) if self.shuffle else np.arange(count)
            self.ordered = epoch, order
        return self.ordered[1]
