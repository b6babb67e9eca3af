"""Code that runs thousands of times does not leak memory. TensorFlow 2.21 keeps a tensor of every Python number."""

import gc
import itertools
import sys
import tracemalloc
import types

import keras
import pytest
import tensorflow as tf

from keras_tricks.callbacks import BatchSizeScheduler, RunLog, WarmupLinearScaling
from keras_tricks.data import WaitClock
from keras_tricks.schedules import Cosine, batch_size_plan
from keras_tricks.utils.summary import COLUMNS, read_summary, write_summary

STEPS = 400
PLAN = batch_size_plan(0.1, 8, 10_000, 8 * STEPS, Cosine(10_000), warmup_epochs=5)


def kept(call, times=STEPS):
    """The average number of Python objects that a further call leaks. `call` takes 0, 1, 2, ..."""
    blocks = []
    for first in (0, times):  # the first calls create objects that later ones reuse
        for i in range(first, first + times):
            call(i)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    return (blocks[1] - blocks[0]) / times


def callback_of_a_run(callback):
    callback.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(0.1), steps_per_execution=1))
    callback.set_params({"steps": STEPS, "epochs": 10_000, "verbose": 0})
    callback.on_train_begin()
    return callback


def test_the_measure_sees_what_tensorflow_keeps():
    variable = keras.Variable(0.0)
    assert kept(lambda i: variable.assign(0.123 + i)) > 0.9


@pytest.mark.parametrize("callback", [BatchSizeScheduler(PLAN),
                                      WarmupLinearScaling(192, decay=Cosine(10_000), steps_per_epoch=STEPS)],
                         ids=lambda c: type(c).__name__)
def test_rates_of_updates(callback):
    callback_of_a_run(callback)
    callback.on_epoch_begin(0)
    assert kept(callback.on_train_batch_begin) < 0.5
    assert 0.02 < float(callback.model.optimizer.learning_rate) <= 0.1  # a new one at each step of the warmup


def test_epochs_of_the_scheduler():
    scheduler = BatchSizeScheduler(PLAN)
    scheduler.epoch_variable()
    callback_of_a_run(scheduler)
    assert kept(lambda i: scheduler.on_epoch_begin(300 + i)) < 0.5


def test_rows_of_the_run_log(tmp_path):
    log = callback_of_a_run(RunLog(tmp_path, PLAN))
    numbers = itertools.count()

    def epoch(i):
        log.on_epoch_begin(0)  # the same one, so that the table does not grow
        log.on_epoch_end(0, {name: next(numbers) + 0.123 for name in ("loss", "val_loss", "val_top1", "val_top5")})

    assert kept(epoch, 100) < 2


def test_an_epoch_of_a_long_run_needs_no_more_memory(tmp_path):
    write_summary(tmp_path, ({name: epoch for name in COLUMNS} for epoch in range(1, 1001)))
    log = callback_of_a_run(RunLog(tmp_path, PLAN))
    log.on_epoch_begin(999)
    log.on_epoch_end(999)  # writes the events of all epochs
    log.on_epoch_begin(1000)
    tracemalloc.start()
    log.on_epoch_end(1000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**18  # a row takes some kB while it is read
    assert [int(r["epoch"]) for r in read_summary(tmp_path)] == list(range(1, 1002))


def test_the_clock_of_the_input():
    elements = iter(WaitClock().watch(tf.data.Dataset.range(2 * STEPS).map(lambda i: tf.cast(i, tf.float32))))
    assert kept(lambda _: next(elements)) < 0.5
