"""Times some steps of a prepared run, and from them the whole run."""

import contextlib
import dataclasses
import time

import keras

from keras_tricks import analysis, training
from keras_tricks.run.failures import USABLE_MEMORY, translate_data_errors
from keras_tricks.run.weights import keeps_average
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.memory import free_memory, peak_memory

WARMUP = 3  # steps that are not timed: compilation, and batches that were prepared meanwhile
STEPS = 8  # timed steps, at most
SECONDS = 20.0  # after which no further step is timed
EVALUATED = 5  # batches of the validation split
ACCELERATORS = ("gpu", "tpu", "cuda")


@dataclasses.dataclass(frozen=True)
class RunCost:
    """What a run costs on this machine.

    Attributes:
        step_seconds: float, of a training step, with its images.
        evaluation_seconds: float, of one evaluation of the validation split.
        start_seconds: float, until the second step: compilation.
        seconds: float, of the whole run, without checkpoints and export.
        peak_memory: integer, largest memory of this process in bytes, or `None` if it is not known.
        largest_batch: integer, images per replica whose step fits into the free memory, estimated from the network;
            `None` on an accelerator, whose memory is not asked, and for a subclassed model.
    """

    step_seconds: float
    evaluation_seconds: float
    start_seconds: float
    seconds: float
    peak_memory: int | None
    largest_batch: int | None


def measure(ready, bytes_per_number=4, slots=1):
    """Does some training steps and evaluation batches of a prepared run. Its weights are not those of a run afterwards.

    Args:
        ready: `training.Prepared`.
        bytes_per_number, slots: as for `analysis.training_memory`.

    Returns:
        `RunCost`.
    """
    plan, clock = ready.plan, _Clock()
    free = free_memory()
    steps = min(WARMUP + STEPS, plan[0].steps_per_epoch)
    with ready.devices.fit_scope(), translate_data_errors(ready.source, ready.service):
        started = time.perf_counter()
        with contextlib.suppress(_Enough):
            ready.trainer.fit(training.training_batches(ready, range(1)), steps_per_epoch=steps, shuffle=False,
                              verbose=0, callbacks=[clock])
        evaluation = _time_evaluation(ready)
    step = clock.seconds_per_step()
    per_image = step / plan[0].step_size
    images = sum(plan.images_before(e + 1) - plan.images_before(e) for e in range(plan.epochs))
    evaluations = -(-plan.epochs // ready.recipe.train.evaluate_every)
    evaluations *= 2 if keeps_average(ready.recipe) else 1  # raw and averaged weights
    start = clock.first - started
    return RunCost(step, evaluation, start, start + images * per_image + evaluations * evaluation, peak_memory(),
                   _largest_batch(ready, free, bytes_per_number, slots))


class _Enough(Exception):
    """Ends `fit` when enough steps are timed."""


class _Clock(keras.callbacks.Callback):
    """Records when steps end, and stops the training after some seconds."""

    def __init__(self):
        super().__init__()
        self.ends = []  # (steps done, time)

    @property
    def first(self):
        return self.ends[0][1]

    def on_train_batch_end(self, batch, logs=None):
        float((logs or {}).get("loss", 0.0))  # waits for the device
        self.ends.append((batch + 1, time.perf_counter()))
        timed = len(self.ends) - WARMUP
        if timed >= 2 and self.ends[-1][1] - self.ends[WARMUP - 1][1] > SECONDS:
            raise _Enough

    def seconds_per_step(self):
        """Mean after the warmup; of all but the first in an epoch with few steps."""
        skipped = WARMUP - 1 if len(self.ends) > WARMUP else 0
        (steps, start), (end_steps, end) = self.ends[skipped], self.ends[-1]
        return (end - start) / max(end_steps - steps, 1) if end_steps > steps else end - start


def _time_evaluation(ready):
    """Seconds of one evaluation of the validation split, from some of its batches."""
    size = ready.recipe.train.eval_batch_size or ready.plan[0].step_size
    batches = -(-ready.source.validation.num_examples // size)
    some = min(batches, EVALUATED)
    seconds = {}
    for steps in (1, 1, some):  # the first compiles
        started = time.perf_counter()
        ready.trainer.evaluate(training.validation_batches(ready), steps=steps, verbose=0)
        seconds[steps] = time.perf_counter() - started
    per_batch = (seconds[some] - seconds[1]) / max(some - 1, 1)
    return seconds[1] + (batches - 1) * max(per_batch, 0.0)


def _largest_batch(ready, free, bytes_per_number, slots):
    devices = " ".join(ready.devices.describe()).lower()
    if free is None or any(word in devices for word in ACCELERATORS):
        return None
    try:
        spent = analysis.cost(ready.network)
    except UserError:  # a subclassed model
        return None
    fixed, one = (spent.training_memory(n, bytes_per_number, slots) for n in (0, 1))
    return max(int((USABLE_MEMORY * free / ready.plan.replicas - fixed) / max(one - fixed, 1)), 0)
