"""Times the parts of a prepared run, and adds them up to the time of the whole run.

    seconds = prepare + start + images * step / batch + evaluations * evaluation + epochs * checkpoint + export

`prepare` is what this process has done so far: imports, data, network. `start` is what the first steps take beyond
later ones: the graph is traced and compiled. The other parts are done once and timed.
"""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time

import keras

from keras_tricks import analysis, callbacks, training
from keras_tricks.run.build import sizes_of_run
from keras_tricks.run.exports import export_result
from keras_tricks.run.failures import USABLE_MEMORY, translate_data_errors
from keras_tricks.run.start import epochs_of_fits
from keras_tricks.run.weights import keeps_average
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.memory import free_memory, peak_memory
from keras_tricks.utils.summary import COLUMNS, draw_curves, write_summary

WARMUP = 3  # steps that are not timed: compilation, and batches that were prepared meanwhile
STEPS = 40  # timed steps, at most
SECONDS = 12.0  # after which no further step is timed
EVALUATED = 20  # batches of the validation split
ACCELERATORS = ("gpu", "tpu", "cuda")


@dataclasses.dataclass(frozen=True)
class RunCost:
    """What a run costs on this machine.

    Attributes:
        step_seconds: float, of a training step, with its images.
        evaluation_seconds: float, of one evaluation of the validation split.
        start_seconds: float, of the first steps beyond later ones: tracing and compilation, of training and evaluation.
        seconds: float, of the whole run, from the start of the command to its end.
        peak_memory: integer, largest memory of this process in bytes, or `None` if it is not known.
        largest_batch: integer, images per replica whose step fits into the free memory, estimated from the network;
            `None` on an accelerator, whose memory is not asked, and for a subclassed model.
        prepare_seconds: float, of imports, data and network.
        checkpoint_seconds: float, of a checkpoint; one is written after each epoch, beside the training.
        export_seconds: float, of the curves and the exports.
    """

    step_seconds: float
    evaluation_seconds: float
    start_seconds: float
    seconds: float
    peak_memory: int | None
    largest_batch: int | None
    prepare_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    export_seconds: float = 0.0


def measure(ready, bytes_per_number=4, slots=1):
    """Does some training steps, evaluation batches, a checkpoint and the exports of a prepared run, in a temporary
    folder. Its weights are not those of a run afterwards.

    Args:
        ready: `training.Prepared`.
        bytes_per_number, slots: as for `analysis.training_memory`.

    Returns:
        `RunCost`.
    """
    prepare, plan, clock = process_seconds(), ready.plan, _Clock()
    free = free_memory()
    steps = min(WARMUP + STEPS, plan[0].steps_per_epoch)
    with ready.devices.fit_scope(), translate_data_errors(ready.source, ready.service):
        started = time.perf_counter()
        with contextlib.suppress(_StepsTimed):
            ready.trainer.fit(training.training_batches(ready, range(1)), steps_per_epoch=steps, shuffle=False,
                              verbose=0, callbacks=[clock])
        first_evaluation, evaluation = _time_evaluation(ready)
    step = clock.seconds_per_step()
    first = max(clock.first - started - step, 0.0)
    checkpoint, export = _time_files(ready)
    images = sum((plan.images_before(e + 1) - plan.images_before(e)) * area for e, area in enumerate(_areas(ready)))
    evaluations = -(-plan.epochs // ready.recipe.train.evaluate_every)
    evaluations *= 2 if keeps_average(ready.recipe) else 1  # raw and averaged weights
    start = first * len(epochs_of_fits(ready, 0)) + max(first_evaluation - evaluation, 0.0)
    seconds = (prepare + start + images * step / plan[0].step_size + evaluations * evaluation
               + plan.epochs * checkpoint + export)
    return RunCost(step, evaluation, start, seconds, peak_memory(),
                   _largest_batch(ready, free, bytes_per_number, slots), prepare, checkpoint, export)


def _areas(ready):
    """The area of a training image in each epoch, relative to that of the first epoch, which is timed."""
    sizes = [size for epochs, size in sizes_of_run(ready.recipe.data, ready.plan) for _ in epochs]
    return [(size / sizes[0]) ** 2 for size in sizes]


def process_seconds():
    """Seconds since this process started; on systems without `/proc`, those that it has computed."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        with open("/proc/uptime", encoding="utf-8") as file:
            return max(float(file.read().split()[0]) - started, 0.0)
    except (OSError, ValueError, IndexError):
        return time.process_time()


def _time_files(ready):
    """Seconds of a checkpoint, and of the curves and the exports at the end of a run."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = callbacks.Checkpoint(folder)
        checkpoint.set_model(ready.trainer)
        started = time.perf_counter()
        with contextlib.suppress(callbacks.NonFiniteLoss):  # the run itself will stop there
            checkpoint.save()
        checkpoint.close()
        saved = time.perf_counter()
        write_summary(folder, [dict.fromkeys(COLUMNS, "1")])
        draw_curves(folder)
        export_result(ready, pathlib.Path(folder))
        return saved - started, time.perf_counter() - saved


class _StepsTimed(Exception):
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
            raise _StepsTimed

    def seconds_per_step(self):
        """Mean after the warmup; of all but the first in an epoch with few steps."""
        skipped = WARMUP - 1 if len(self.ends) > WARMUP else 0
        (steps, start), (end_steps, end) = self.ends[skipped], self.ends[-1]
        return (end - start) / max(end_steps - steps, 1) if end_steps > steps else end - start


def _time_evaluation(ready):
    """Seconds of the first evaluation of the validation split, and of a later one, from some of its batches."""
    size = ready.recipe.train.eval_batch_size or ready.plan[0].step_size
    batches = -(-ready.source.validation.num_examples // size)
    some = min(batches, EVALUATED)
    seconds = []
    for steps in (1, 1, some):  # the first compiles
        started = time.perf_counter()
        ready.trainer.evaluate(training.validation_batches(ready), steps=steps, verbose=0)
        seconds.append(time.perf_counter() - started)
    first, one, several = seconds
    later = several if some == batches else one + (batches - 1) * max(several - one, 0.0) / max(some - 1, 1)
    return later + first - one, later


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
