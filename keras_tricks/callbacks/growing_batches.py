"""Batches whose size follows a plan: the data half of `BatchSizeScheduler`.

On TensorFlow they are a `tf.data.Dataset`, see `data/growing_dataset.py`; elsewhere arrays by index.
"""

import keras
import numpy as np

from keras_tricks.utils.backend import on_tensorflow
from keras_tricks.utils.errors import UserError

BATCHED = "If it is already batched, pass single examples: the scheduler batches them."


def growing_batches(scheduler, examples, phase, shuffle, seed):
    """See `BatchSizeScheduler.batch`."""
    if not hasattr(examples, "element_spec"):
        arrays = _checked_arrays(examples, scheduler.plan)
        if not on_tensorflow():
            return ArrayBatches(scheduler, arrays, phase, shuffle, seed)
        from keras_tricks.data.growing_dataset import batches_of_arrays

        return batches_of_arrays(scheduler.plan, scheduler.epoch_variable(), arrays, phase, shuffle, seed)
    if not on_tensorflow():
        raise UserError("On backends other than TensorFlow, BatchSizeScheduler.batch takes only arrays.")
    from keras_tricks.data.growing_dataset import batches_of_dataset, size_of

    check_size(size_of(examples, BATCHED), scheduler.plan)
    return batches_of_dataset(scheduler.plan, scheduler.epoch_variable(), examples, phase)


# --- checks ---------------------------------------------------------------------------------------------------------


def _checked_arrays(examples, plan):
    examples = examples if isinstance(examples, tuple) else (examples,)
    if not all(getattr(a, "shape", ()) for a in examples):
        raise UserError("`examples` must be a tf.data.Dataset of single examples, an array, or a tuple of arrays such "
                        f"as (x, y). Received: {[type(a).__name__ for a in examples]}")
    examples = tuple(np.asarray(a) for a in examples)
    check_size(len(examples[0]), plan)
    if any(len(a) != len(examples[0]) for a in examples):
        raise UserError(f"`examples` must have equal first dimensions. Received: {[a.shape for a in examples]}")
    return examples


def check_size(count, plan):
    """Raises `UserError` unless there are as many examples as in the plan. `None`: their number is unknown."""
    if count is not None and count != plan.dataset_size:
        hint = f" {BATCHED}" if count < plan.dataset_size else ""
        raise UserError(f"`examples` has {count:,} elements, but the plan is for dataset_size="
                        f"{plan.dataset_size:,}.{hint}")


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
