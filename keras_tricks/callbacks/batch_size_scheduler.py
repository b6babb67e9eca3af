"""The batch size as a schedule, inside one `fit`.

Formula    as `kt.schedules.batch_size_plan`: the batch grows where a decay would have lowered the learning rate
Paper      Smith et al. 2017, arXiv:1711.00489
Recipe     always on: it sets rate and batch of every update
Use when   the same accuracy is wanted from fewer parameter updates: larger batches keep more devices busy
Do not     grow with batch statistics over the whole batch: `GhostBatchNormalization` keeps their size
Cost       one epoch iterator per epoch; no retrace (batches of any size share one trace)
Differs    nothing; the paper's runs grow by a constant factor, here any decay can be turned into growth
Status     `dont_decay/cifar10_small_*`, docs/results/dont_decay (n = 3)
"""

import warnings

import keras
import numpy as np

from keras_tricks.errors import UserError
from keras_tricks.schedules import Step, batch_size_plan
from keras_tricks.schedules.batch_size_plan import check_milestones


class _EndOfEpoch:
    """`model.stop_training` while an epoch, not the training, ends. Keras only asks whether it is true."""


class BatchSizeScheduler(keras.callbacks.ProgbarLogger):
    """Sets batch size, learning rate and number of steps of every epoch, and shows the progress bar that fits them.

    ```python
    scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
        learning_rate=0.1, batch_size=128, factor=5, milestones=(60, 120, 160), epochs=200, dataset_size=50_000)
    model.fit(scheduler.batch(examples), epochs=200, callbacks=[scheduler])
    ```

    Args:
        plan: `kt.schedules.BatchSizePlan`, see `kt.schedules.batch_size_plan`. Print it: it is a table.
        start: `(epoch, batches)` done when `fit` begins, for a run that goes on in the middle of an epoch, whose data
            then begin there. Defaults to `(0, 0)`.

    Attributes: `plan`; `epoch`, the current 0-based epoch.

    The batch really grows; batches that `max_batch_per_replica` splits need `kt.optimizers.GradientAccumulation`
    around the optimizer, whose `steps` are then set here. It is a progress bar too (Keras makes none beside it),
    because Keras' own asks for the number of steps only once. An epoch ends with its last full batch, so the number of
    optimizer iterations is that of the updates. Give `fit` neither `batch_size` nor `steps_per_epoch`. To go on with
    a run, pass `initial_epoch`: everything here is a function of the epoch.

    Where shapes must be static, fit once per phase; the weights are the same:

    ```python
    for phase in scheduler.plan:
        model.fit(scheduler.batch(examples, phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                  callbacks=[scheduler])
    ```
    """

    def __init__(self, plan, start=(0, 0)):
        super().__init__()
        self.plan, self.start = plan, start
        self.epoch, self.phase = 0, None
        self.state = None  # the current epoch as a variable, read by the data set when an epoch begins

    @classmethod
    def instead_of_decay(cls, learning_rate, batch_size, factor, milestones, epochs, dataset_size, max_batch_size=None,
                         momentum=0.0, mode="increase_batch", warmup_epochs=0.0, replicas=None,
                         max_batch_per_replica=None):
        """The plan of a run whose learning rate would be divided by `factor` at each of `milestones` (epochs).

        Args:
            mode: `"increase_batch"` (multiply the batch by `factor` instead), `"hybrid"` (at the first milestone only)
                or `"decay"` (not at all).
            replicas: integer. Defaults to those of the current strategy.

        The other arguments are those of `kt.schedules.batch_size_plan`, the errors too.
        """
        if factor <= 1:
            raise UserError(f"`factor` divides the learning rate or multiplies the batch, and must be > 1. "
                            f"Received: {factor}")
        replicas = _replicas() if replicas is None else replicas
        decay = Step(tuple(milestones), 1.0 / factor)
        check_milestones(decay.milestones, epochs)  # of a plain decay too
        plan = batch_size_plan(learning_rate, batch_size, epochs, dataset_size, decay, mode, factor, None,
                               max_batch_size, momentum, warmup_epochs, replicas, max_batch_per_replica)
        return cls(plan)

    # --- data ---------------------------------------------------------------------------------------------------

    def batch(self, examples, phase=None, shuffle=True, seed=0):
        """Batches whose size follows the plan, an epoch at a time.

        Args:
            examples: `tf.data.Dataset` of single examples (shuffle it yourself), or arrays: one, or a tuple such as
                `(x, y)`, with equal first dimensions.
            phase: one of `plan`, for batches of that phase only, of static shape. Defaults to `None`, all phases.
            shuffle: bool, for arrays: a new order in every epoch, a function of `seed` and the epoch.
            seed: integer.

        Returns:
            On TensorFlow a `tf.data.Dataset`, elsewhere a `keras.utils.PyDataset` (arrays only).

        Raises:
            UserError: a data set that is batched already, or that does not hold `plan.dataset_size` examples.
        """
        arrays = not hasattr(examples, "element_spec")
        if arrays:
            examples = examples if isinstance(examples, tuple) else (examples,)
            if not all(getattr(a, "shape", ()) for a in examples):
                raise UserError("`examples` must be a tf.data.Dataset of single examples, an array, or a tuple of "
                                f"arrays such as (x, y). Received: {[type(a).__name__ for a in examples]}")
            examples = tuple(np.asarray(a) for a in examples)
            self._check_size(len(examples[0]))
            if any(len(a) != len(examples[0]) for a in examples):
                raise UserError(f"`examples` must have equal first dimensions. Received: {[a.shape for a in examples]}")
        if keras.backend.backend() == "tensorflow":
            return self._tensorflow_batches(examples, phase, shuffle, seed, arrays)
        if not arrays:
            raise UserError("Without TensorFlow as the backend, BatchSizeScheduler.batch takes arrays only.")
        return _ArrayBatches(self, examples, phase, shuffle, seed)

    def _tensorflow_batches(self, examples, phase, shuffle, seed, arrays):
        import tensorflow as tf

        if not arrays:
            self._check_examples(examples)
        self._make_state()

        tensors = [tf.constant(a) for a in examples] if arrays else None  # out here: a graph holds at most 2 GB

        def one_epoch(epoch):
            """(batch size, steps) are tensors of the current epoch, or numbers of one phase."""
            size, steps = (phase.step_size, phase.steps_per_epoch) if phase else self._table(epoch)
            if arrays:
                return _rows(tensors, epoch, size, steps, shuffle, seed)
            return examples.batch(size, drop_remainder=True).take(steps)

        if phase is None or arrays:
            batches = tf.data.Dataset.range(1).flat_map(lambda _: one_epoch(self.state.value))
        else:
            batches = one_epoch(None)
        if phase is not None:
            batches = batches.apply(tf.data.experimental.assert_cardinality(phase.steps_per_epoch))
        options = tf.data.Options()
        options.deterministic = True
        return batches.with_options(options).prefetch(tf.data.AUTOTUNE)

    def _table(self, epoch):
        """Batch size and number of steps of an epoch, int64 scalars."""
        import tensorflow as tf

        stops = tf.constant([p.epochs.stop for p in self.plan], tf.int64)
        index = tf.minimum(tf.reduce_sum(tf.cast(tf.cast(epoch, tf.int64) >= stops, tf.int32)), len(self.plan) - 1)
        return (tf.gather(tf.constant([p.step_size for p in self.plan], tf.int64), index),
                tf.gather(tf.constant([p.steps_per_epoch for p in self.plan], tf.int64), index))

    def _check_examples(self, dataset):
        import tensorflow as tf

        count = int(dataset.cardinality())
        if count >= 0:
            self._check_size(count)
        elif count == tf.data.INFINITE_CARDINALITY:
            raise UserError("`examples` repeats without end: pass one epoch, without `.repeat()`.")
        # Of unknown length (a generator, a filter): only its shapes tell.
        elif all(s.shape.rank and s.shape[0] is None for s in tf.nest.flatten(dataset.element_spec)):
            raise UserError(_BATCHED)

    def _check_size(self, count):
        if count != self.plan.dataset_size:
            hint = f" {_BATCHED}" if count < self.plan.dataset_size else ""
            raise UserError(f"`examples` holds {count:,} elements, but the plan is for dataset_size="
                            f"{self.plan.dataset_size:,}.{hint}")

    def _make_state(self):
        if self.state is None:
            self.state = keras.Variable(self.epoch, dtype="int32", trainable=False, name="epoch")

    # --- during fit ---------------------------------------------------------------------------------------------

    def set_params(self, params):
        super().set_params(params)
        self.params = params  # the bar keeps only its own

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        model, plan = self.model, self.plan
        replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
        if replicas != plan.replicas:
            raise UserError(f"The plan is for {plan.replicas} replicas but the model has {replicas}: make the "
                            f"BatchSizeScheduler with replicas={replicas}, or inside `strategy.scope()`.")
        if len({p.steps_per_epoch for p in plan}) > 1 and getattr(model, "steps_per_execution", 1) != 1:
            raise UserError("BatchSizeScheduler needs steps_per_execution=1: its epochs differ in length.")
        self.accumulation = _accumulation(model.optimizer)
        most = max(p.accumulation_steps for p in plan)
        if most > 1 and self.accumulation is None:
            raise UserError(f"The plan reaches {most} steps per update: compile with "
                            "kt.optimizers.GradientAccumulation(optimizer, steps=1).")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.phase = epoch, self.plan.phase(epoch)
        self.target = self.phase.steps_per_epoch  # of the progress bar
        self.done = self.start[1] if epoch == self.start[0] else 0
        self.steps = self.done
        if self.state is not None:
            self.state.assign(np.int32(epoch))
        if self.accumulation is not None:
            self.accumulation.steps = self.phase.accumulation_steps
        self.hushed = None
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.plan.rate(self.epoch, (self.done + batch) // self.phase.accumulation_steps)
        # TensorFlow 2.21 keeps a tensor of every Python number it was ever given, but none of NumPy's.
        self.model.optimizer.learning_rate = np.float32(rate)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self.done + batch, logs)
        self.steps = self.done + batch + 1
        # TensorFlow's loop would ask for one more batch, and count an update when there is none. Elsewhere the loop
        # ends with the data, which is the only end a PyDataset bears.
        if self.steps != self.target or self.target - self.done == self.params.get("steps"):
            return
        if keras.backend.backend() != "tensorflow":
            self.hushed = warnings.catch_warnings()
            self.hushed.__enter__()
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        elif not self.model.stop_training:
            self.model.stop_training = _EndOfEpoch()

    def on_epoch_end(self, epoch, logs=None):
        if self.hushed is not None:
            self.hushed.__exit__(None, None, None)
        if isinstance(self.model.stop_training, _EndOfEpoch):
            self.model.stop_training = False
        if self.steps < self.target and not self.model.stop_training:
            raise UserError(f"Epoch {epoch + 1} ended after {self.steps} of {self.target} batches of "
                            f"{self.phase.step_size} images: the data set has fewer than the "
                            f"{self.plan.dataset_size:,} examples of the plan, or `fit` was not given "
                            "`scheduler.batch(examples)`.")
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            logs["batch_size"] = self.phase.batch_size
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        self.phase = None
        super().on_train_end(logs)


_BATCHED = "Is it batched already? Pass single examples: the scheduler batches them."


def _rows(tensors, epoch, size, steps, shuffle, seed):
    """Batches of tensors in the order of `epoch`, a scalar."""
    import tensorflow as tf

    order = tf.range(len(tensors[0]), dtype=tf.int64)
    if shuffle:
        order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int32), epoch]))
    positions = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True).take(steps)
    rows = lambda p: tuple(tf.gather(t, p) for t in tensors)  # noqa: E731
    return positions.map(rows if len(tensors) > 1 else lambda p: rows(p)[0], tf.data.AUTOTUNE, deterministic=True)


class _ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays without TensorFlow: those of the scheduler's current epoch, by index."""

    def __init__(self, scheduler, arrays, phase, shuffle, seed):
        super().__init__()
        self.scheduler, self.arrays, self.only = scheduler, arrays, phase
        self.shuffle, self.seed = shuffle, seed
        self.ordered, self.served = None, 0

    def on_epoch_begin(self):
        self.served = 0

    @property
    def phase(self):
        """That of the current epoch; `None` before the first."""
        return self.only or self.scheduler.phase

    @property
    def num_batches(self):
        """Of the current epoch; before the first, of the longest, because `fit` takes that for the most there are."""
        if self.phase is None:
            return max(p.steps_per_epoch for p in self.scheduler.plan)
        return self.phase.steps_per_epoch

    def __getitem__(self, index):
        # In the order of the plan: `fit` shuffles the indices it asks for, and micro-batches belong together.
        phase = self.phase or self.scheduler.plan.phase(0)
        rows = self._order(self.scheduler.epoch)[self.served * phase.step_size : (self.served + 1) * phase.step_size]
        self.served += 1
        batch = tuple(array[rows] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]

    def _order(self, epoch):
        if self.ordered is None or self.ordered[0] != epoch:
            count = len(self.arrays[0])
            order = np.random.default_rng((self.seed, epoch)).permutation(count) if self.shuffle else np.arange(count)
            self.ordered = epoch, order
        return self.ordered[1]


def _accumulation(optimizer):
    """The `GradientAccumulation` among nested optimizers, or `None`."""
    while optimizer is not None and not hasattr(optimizer, "steps"):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer


def _replicas():
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
