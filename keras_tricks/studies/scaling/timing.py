"""Measures time and memory of training steps and of inference, each network in a separate process."""

import concurrent.futures
import multiprocessing
import os
import statistics
import time

from keras_tricks import models


def run_in_process(function, *args):
    """Calls a function of this module in a new process and returns its result."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *args).result()


def time_steps(name, options, image_size, batch_size, steps):
    """Median seconds per image of training steps and of inference, and the peak memory in bytes."""
    import keras
    import numpy as np

    from keras_tricks.distribution import make_devices

    devices = make_devices("one")
    model = models.create_model(name, input_shape=(image_size, image_size, 3), **options)
    # The loss of an untrained network is high: a tiny learning rate keeps it finite.
    model.compile(keras.optimizers.SGD(1e-6, 0.9), "sparse_categorical_crossentropy",
                  **devices.compile_arguments("auto"))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch_size, image_size, image_size, 3)).astype("float32")
    labels = rng.integers(0, 1000, batch_size)
    before = _memory_of_this_process()
    step = _median_seconds(lambda: model.train_on_batch(images, labels), steps)
    peak = _peak_memory(before)
    latency = _median_seconds(lambda: model.predict_on_batch(images), steps)
    return {"step": step / batch_size, "latency": latency / batch_size, "peak_memory": peak}


def _median_seconds(work, repeats, warmup=2):
    seconds = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warmup:])


def _peak_memory(before):
    """Peak memory of the first accelerator, or of this process minus its memory before the first step."""
    from keras_tricks.distribution.diagnosis import peak_memory

    peak = peak_memory()
    if peak is not None:
        return peak
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _memory_of_this_process():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
