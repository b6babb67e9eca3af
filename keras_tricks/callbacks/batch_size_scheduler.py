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

import contextlib
import warnings

import keras
import numpy as np

from keras_tricks.callbacks.growing_batches import growing_batches
from keras_tricks.schedules import Step, batch_size_plan
from keras_tricks.schedules.batch_size_plan import check_milestones
from keras_tricks.utils.errors import UserError


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
        self.state = None  # see `epoch_variable`
        self.suppressed_warnings = contextlib.ExitStack()  # until the epoch ends

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

    # --- data -------------------------------------------------------------------------------------------------------

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
        return growing_batches(self, examples, phase, shuffle, seed)

    def epoch_variable(self):
        """The current epoch as an int32 variable, which a data set reads when an epoch begins."""
        if self.state is None:
            self.state = keras.Variable(self.epoch, dtype="int32", trainable=False, name="epoch")
        return self.state

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
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.plan.rate(self.epoch, (self.done + batch) // self.phase.accumulation_steps)
        # TensorFlow 2.21 keeps a tensor of every Python number it was ever given, but none of NumPy's.
        self.model.optimizer.learning_rate = np.float32(rate)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self.done + batch, logs)
        self.steps = self.done + batch + 1
        # TensorFlow's loop would ask for one more batch, and count an update when there is none. Elsewhere the loop
        # ends with the data, which is the only end a PyDataset has.
        if self.steps != self.target or self.target - self.done == self.params.get("steps"):
            return
        if keras.backend.backend() != "tensorflow":
            self.suppressed_warnings.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        elif not self.model.stop_training:
            self.model.stop_training = _EndOfEpoch()

    def on_epoch_end(self, epoch, logs=None):
        self.suppressed_warnings.close()
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
