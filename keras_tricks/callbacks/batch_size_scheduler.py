"""Schedules the batch size inside one `fit`.

Formula    as `kt.schedules.batch_size_plan`: the batch grows where a decay would have lowered the learning rate
Paper      Smith et al. 2017, arXiv:1711.00489
Recipe     always on: it sets learning rate and batch size of every update
Use when   the same accuracy should need fewer parameter updates: larger batches use more devices
Do not     grow the batch with batch statistics over all of it: use `GhostBatchNormalization`
Cost       one epoch iterator per epoch; no retracing (batches of any size share one trace)
Differs    nothing; the paper's runs grow by a constant factor, here any decay can be turned into growth
Status     `dont_decay/cifar10_small_*`, docs/results/dont_decay (n = 3)
"""

import contextlib
import time
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.callbacks.callback_list import numbers
from keras_tricks.callbacks.fit_checks import BatchSize, LearningRate
from keras_tricks.callbacks.growing_batches import growing_batches
from keras_tricks.distribution.step_state import StepState
from keras_tricks.optimizers import GradientAccumulation
from keras_tricks.optimizers.wrapper import find_wrapper, innermost
from keras_tricks.schedules import BatchSizePlan, Step, batch_size_plan
from keras_tricks.schedules.batch_size_plan import Phase, check_milestones
from keras_tricks.utils.backend import number_of_replicas, on_tensorflow
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs

OWN_BATCHES = "Pass `scheduler.batch(examples)` to `fit`, without `batch_size` or `steps_per_epoch`."


SECONDS_BETWEEN = 0.1  # of the progress bar's updates


class _EndOfEpoch:
    """A true value of `model.stop_training` that ends the epoch, not the training."""


class BatchSizeScheduler(keras.callbacks.ProgbarLogger):
    """Sets batch size, learning rate and number of steps of every epoch, and shows the matching progress bar.

    ```python
    scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
        learning_rate=0.1, batch_size=128, factor=5, milestones=(60, 120, 160), epochs=200, dataset_size=50_000)
    model.fit(scheduler.batch(examples), epochs=200, callbacks=[scheduler])
    ```

    Args:
        plan: `kt.schedules.BatchSizePlan`; see `kt.schedules.batch_size_plan`. Printing it shows a table.
        start: `(epoch, batches)` done before `fit` starts, for a run resumed in the middle of an epoch; its data must
            start at the same position. Defaults to `(0, 0)`.
        batched: bool, whether `fit` receives batches of the planned sizes that `batch` did not make. Defaults to
            `False`.
        follows: bool, whether another callback may multiply the learning rate after an epoch, as
            `keras.callbacks.ReduceLROnPlateau` does; it must precede this one. Defaults to `False`: an error.

    Attributes: `plan`; `epoch`, the current 0-based epoch.

    The batch itself grows. Batches that `max_batch_per_replica` splits need `kt.optimizers.GradientAccumulation` around
    the optimizer; the callback then sets its `steps`. The callback replaces Keras' progress bar, which reads the number
    of steps only once. An epoch ends with its last full batch, so that the optimizer's iterations equal the number of
    updates. Do not pass `batch_size` or `steps_per_epoch` to `fit`. To resume a run, pass `initial_epoch`: the whole
    state is a function of the epoch.

    If shapes must be static, call `fit` once per phase; the weights are the same:

    ```python
    for phase in scheduler.plan:
        model.fit(scheduler.batch(examples, phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                  callbacks=[scheduler])
    ```
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, plan: BatchSizePlan, start: tuple[int, int] = (0, 0), batched: bool = False,
                 follows: bool = False) -> None:
        super().__init__()
        self.plan, self.start, self.batched = plan, start, batched
        self.served = None  # whether `fit` requested our batches; `None`: unknown for a `tf.data.Dataset`
        self.learning_rate, self.size = LearningRate(type(self).__name__, follows), BatchSize()
        self.epoch, self.phase = 0, None
        self.state = None  # see `epoch_variable`
        self.suppressed_warnings = contextlib.ExitStack()  # until the epoch ends

    @classmethod
    def instead_of_decay(cls, learning_rate: float, batch_size: int, factor: float, milestones: Sequence[int],
                         epochs: int, dataset_size: int, max_batch_size: int | None = None, momentum: float = 0.0,
                         mode: str = "increase_batch", warmup_epochs: float = 0.0, replicas: int | None = None,
                         max_batch_per_replica: int | None = None) -> "BatchSizeScheduler":
        """Replaces a schedule that would divide the learning rate by `factor` at each of `milestones`, in epochs.

        Args:
            factor: number > 1.
            milestones: epochs, increasing integers.
            mode: `"increase_batch"` multiplies the batch by `factor` instead; `"hybrid"` does so only at the first
                milestone; `"decay"` keeps the batch size. Defaults to `"increase_batch"`.
            replicas: integer. Defaults to `None`: the replicas of the current strategy.

        The other arguments, and the errors, are those of `kt.schedules.batch_size_plan`.
        """
        if factor <= 1:
            raise UserError(f"`factor`, which divides the learning rate or multiplies the batch, must be > 1. "
                            f"Received: {factor}")
        replicas = number_of_replicas() if replicas is None else replicas
        decay = Step(tuple(milestones), 1.0 / factor)
        check_milestones(decay.milestones, epochs)  # also for a plain decay
        plan = batch_size_plan(learning_rate, batch_size, epochs, dataset_size, decay, mode, factor, None,
                               max_batch_size, momentum, warmup_epochs, replicas, max_batch_per_replica)
        return cls(plan)

    # --- data -------------------------------------------------------------------------------------------------------

    def batch(self, examples: Any, phase: Phase | None = None, shuffle: bool = True, seed: int = 0) -> Any:
        """Batches whose size follows the plan, one epoch at a time.

        Args:
            examples: `tf.data.Dataset` of single examples (shuffle it yourself), or arrays: one, or a tuple such as
                `(x, y)`, with equal first dimensions.
            phase: phase of `plan`, for batches of only that phase, with static shapes. Defaults to `None`: all phases.
            shuffle: bool, for arrays, whether to use a new order in every epoch, which depends on `seed` and the epoch.
                Defaults to `True`.
            seed: integer. Defaults to `0`.

        Returns:
            On TensorFlow a `tf.data.Dataset`, elsewhere a `keras.utils.PyDataset` (arrays only).

        Raises:
            UserError: the data set is already batched, or does not have `plan.dataset_size` examples.
        """
        return growing_batches(self, examples, phase, shuffle, seed)

    def epoch_variable(self) -> Any:
        """The current epoch as an int32 variable, which the data set reads at the start of an epoch."""
        if self.state is None:
            self.state = keras.Variable(self.epoch, dtype="int32", trainable=False, name="epoch")
        return self.state

    # --- state, if the learning rate follows another callback -----------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The factor of the learning rate, for a checkpoint."""
        return {"scale": self.learning_rate.scale_now(self.model.optimizer)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.learning_rate.scale = state["scale"]

    # --- during fit ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.step_state = StepState(self)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self.params = params  # the progress bar keeps only some of them

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        model, plan = self.model, self.plan
        strategy = getattr(model, "distribute_strategy", None)
        replicas = number_of_replicas() if strategy is None else strategy.num_replicas_in_sync
        if replicas != plan.replicas:
            raise UserError(f"The plan is for {plan.replicas} replicas but the model has {replicas}: create the "
                            f"BatchSizeScheduler with replicas={replicas}, or inside `strategy.scope()`.")
        if len({p.steps_per_epoch for p in plan}) > 1 and getattr(model, "steps_per_execution", 1) != 1:
            raise UserError("BatchSizeScheduler needs steps_per_execution=1: its epochs differ in length.")
        self.learning_rate.begin()
        self.shown = 0.0
        self.accumulation = find_wrapper(model.optimizer, GradientAccumulation)
        if innermost(model.optimizer).gradient_accumulation_steps:
            raise UserError("BatchSizeScheduler counts updates, which an optimizer with `gradient_accumulation_steps` "
                            "does not: use kt.optimizers.GradientAccumulation(optimizer, steps=1) instead.")
        most = max(p.accumulation_steps for p in plan)
        if most > 1 and self.accumulation is None:
            raise UserError(f"The plan needs up to {most} steps per update: compile with "
                            "kt.optimizers.GradientAccumulation(optimizer, steps=1).")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch, self.phase = epoch, self.plan.phase(epoch)
        self.target = self.phase.steps_per_epoch  # of the progress bar
        self.done = self.start[1] if epoch == self.start[0] else 0
        self.steps = self.done
        self.first = True
        if self.state is not None:
            self.state.assign(np.int32(epoch))
        if self.accumulation is not None:
            self.accumulation.steps = self.phase.accumulation_steps
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        rate = self.plan.rate(self.epoch, (self.done + batch) // self.phase.accumulation_steps)
        if self.first:
            self.size.begin(self.model)
            self.learning_rate.check(self.model.optimizer)
        self.learning_rate.assign(self.step_state, rate)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.learning_rate.done()
        if self.first:
            self.first = False
            self._check_first_batch()
        self.steps = self.done + batch + 1
        self._show(batch, logs)
        # TensorFlow's loop would request one more batch and count an update without data. On other backends the loop
        # ends with the data, the only way a PyDataset ends.
        if self.steps != self.target or self.target - self.done == self.params.get("steps"):
            return
        if not on_tensorflow():
            self.suppressed_warnings.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        elif not self.model.stop_training:
            self.model.stop_training = _EndOfEpoch()

    def _show(self, batch, logs):
        """Updates the bar, at most ten times a second: reading the logs waits for the step."""
        if self.verbose == 1 and (self.steps == self.target or time.monotonic() - self.shown > SECONDS_BETWEEN):
            super().on_train_batch_end(self.done + batch, numbers(logs))
            self.shown = time.monotonic()
        self.seen = self.steps

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.suppressed_warnings.close()
        if self.learning_rate.follows:
            self.learning_rate.check(self.model.optimizer)
        if isinstance(self.model.stop_training, _EndOfEpoch):
            self.model.stop_training = False
        if self.steps < self.target and not self.model.stop_training:
            raise UserError(f"Epoch {epoch + 1} ended after {self.steps} of {self.target} batches of "
                            f"{self.phase.step_size} images: the data set has fewer than the "
                            f"{self.plan.dataset_size:,} examples of the plan, or `fit` did not receive "
                            "`scheduler.batch(examples)`.")
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            logs["batch_size"] = self.phase.batch_size
        super().on_epoch_end(epoch, logs)

    def _check_steps(self):
        """Whether the number of batches in an epoch that `fit` knows is that of the plan, in all epochs left."""
        known, resumed = self.params.get("steps"), (self.start[1] and self.epoch == self.start[0])
        if known is None or self.batched or self.served is not None or resumed:
            return
        epochs = range(self.epoch, min(self.params.get("epochs", self.plan.epochs), self.plan.epochs))
        planned = list(dict.fromkeys(self.plan.phase(e).steps_per_epoch for e in epochs))
        if planned != [known]:
            raise UserError(f"Every epoch of `fit` has {known} batches, but the plan for {self.plan.dataset_size:,} "
                            f"examples has {', '.join(map(str, planned))}. {OWN_BATCHES}")

    def _check_first_batch(self):
        """After the first step of an epoch: whether the data are those of the plan, and the learning rate is ours."""
        self._check_steps()
        size = self.size.measure(self.model)
        if size is not None and size != self.phase.step_size:
            raise UserError(f"The first batch of epoch {self.epoch + 1} had {size} examples, but the plan has "
                            f"{self.phase.step_size}. {OWN_BATCHES}")
        if self.served is False:
            raise UserError(f"`fit` did not receive the batches of `scheduler.batch(examples)`. {OWN_BATCHES}")
        self.learning_rate.check(self.model.optimizer)

    def on_train_end(self, logs: Logs = None) -> None:
        self.phase = None
        self.served = None if self.served is None else False
        super().on_train_end(logs)


