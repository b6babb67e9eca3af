"""What `kt.train` adds to a step of Keras' bare `fit`: seconds, and host synchronisations.

Run      python benchmarks/trainer_overhead.py [--rounds 5] [--backends tensorflow jax] [--output FOLDER]
         One backend after the other, in processes of this interpreter, which needs jax as well; by default only that of
         KERAS_BACKEND. `--no-reads` leaves out the counting.
Work     A network of two convolutions on images of 8 x 8 pixels, batch 16, 300 steps an epoch: small, so that what is
         added stands out. The learning rate changes at every update, and nothing is logged within an epoch.
Method   In one process, rounds in turn: `kt.train` with all callbacks of a run, and `model.fit` without any callback
         but the clock of epochs, on the same model, optimizer and batches. The time of a step is the training part of
         an epoch (without evaluation and checkpoint) divided by its steps; the first epoch, which compiles, is left
         out. The figure is the median over the epochs of all rounds. "average" adds `optimizer.ema_decay`, "float16" a
         loss scale.
         Synchronisations are counted apart: reads of an array or tensor by the host (`__array__`, `__float__`, `numpy`)
         in the thread that trains, over the steps of an epoch but its first and last.
"""

import argparse
import collections
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
STEPS, BATCH, EPOCHS = 300, 16, 4
CASES = {"plain": {}, "average": {"optimizer": {"ema_decay": 0.99}},
         "float16": {"train": {"precision": "mixed_float16"}}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--backends", nargs="+", choices=("tensorflow", "jax"))
    parser.add_argument("--no-reads", action="store_true")
    parser.add_argument("--output", type=pathlib.Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.backends:
        rest = ["--rounds", str(args.rounds), "--cases", *args.cases, *(["--no-reads"] if args.no_reads else []),
                *(["--output", str(args.output)] if args.output else [])]
        for backend in args.backends:
            subprocess.run([sys.executable, __file__, *rest], check=True,
                           env={**os.environ, "KERAS_BACKEND": backend})
        return
    import keras

    found = {name: measure(CASES[name], args.rounds, not args.no_reads) for name in args.cases}
    backend = keras.backend.backend()
    print(f"| {backend} | kt.train, ms | fit, ms | added, ms | epochs | host reads a step: kt.train | fit |")
    print("|---" * 7 + "|")
    for name, row in found.items():
        reads = [f"{row[key]:.2f}" if key in row else "" for key in ("kt_reads", "fit_reads")]
        print(f"| {name} | {row['kt_ms']:.3f} | {row['fit_ms']:.3f} | {row['added_ms']:.3f} | {row['epochs']} | "
              f"{' | '.join(reads)} |", flush=True)
    names = ["keras", "numpy", *{"jax": ["jax", "jaxlib"]}.get(backend, [backend])]
    setting = {"backend": backend, "cpus": os.cpu_count(), "platform": platform.platform(), "rounds": args.rounds,
               "versions": {name: importlib.metadata.version(name) for name in names}}
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"setting": setting, "cases": found}, indent=1)
        (args.output / f"trainer_overhead_{backend}.json").write_text(text + "\n")


def measure(changes, rounds, counts_reads=True):
    ours, bare = [], []
    for _ in range(rounds):
        ours += train(changes)
        bare += fit(changes)
    ours_ms, bare_ms = (1000 * statistics.median(times) for times in (ours, bare))
    found = {"kt_ms": ours_ms, "fit_ms": bare_ms, "added_ms": ours_ms - bare_ms, "epochs": len(ours)}
    if counts_reads:
        with counted_reads() as reads:
            for side, run in (("kt_reads", train), ("fit_reads", fit)):
                run(changes, reads)
                found[side] = reads.per_step()
    return found


# --- the two sides --------------------------------------------------------------------------------------------------


def recipe_of(changes):
    import keras_tricks as kt

    recipe = kt.Recipe().replace(
        schedule={"epochs": EPOCHS, "batch_size": BATCH, "warmup_epochs": 0.5, "base_learning_rate": 0.01},
        data={"image_size": 8, "eval_crop": "whole"}, augment={"crop": "none", "flip": False},
        train={"loggers": ()}, export={"formats": ()})
    return recipe.replace(**changes)


def network(input_shape, classes):
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, dtype="float32")(x))


def data():
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (STEPS * BATCH, 8, 8, 3), np.uint8), rng.integers(0, 10, STEPS * BATCH)
    return (x, y), (x[: 2 * BATCH], y[: 2 * BATCH])


def train(changes, reads=None):
    """Seconds of a step in every epoch but the first, of `kt.train`."""
    import keras_tricks as kt
    from keras_tricks.utils.summary import read_summary

    with tempfile.TemporaryDirectory() as folder, steps_of(reads):
        kt.train(recipe_of(changes), folder, data=data(), model=network, verbose=0)
        rows = read_summary(folder)
    return [BATCH / float(row["images_per_s"]) for row in rows[1:]]


def fit(changes, reads=None):
    """The same of Keras' `fit`."""
    import keras

    from keras_tricks import training
    from keras_tricks.run.given_data import given_data
    from keras_tricks.run.own import Handed
    from keras_tricks.run.resolve import resolve_run

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_test_begin(self, logs=None):
            keras.ops.convert_to_numpy(self.model.optimizer.iterations)  # waits for the steps in flight, as `kt.train`
            self.seconds.append((time.perf_counter() - self.start) / STEPS)

    with tempfile.TemporaryDirectory() as folder:
        run = resolve_run(recipe_of(changes), folder, False, None, Handed(network, (), given_data(data())))
        ready, clock = training.prepare(run.recipe, handed=run.handed), Clock()
        batches = training.training_batches(ready, range(EPOCHS))
        with ready.devices.fit_scope(), steps_of(reads):
            ready.trainer.fit(batches, epochs=EPOCHS, steps_per_epoch=STEPS, shuffle=False, verbose=0,
                              validation_data=training.validation_batches(ready), callbacks=[clock])
    return clock.seconds[1:]


# --- counting ---------------------------------------------------------------------------------------------------------


class Reads:
    """Reads by the host, by step of training."""

    def __init__(self):
        self.steps, self.now = [], None

    def step(self):
        self.now = collections.Counter()
        self.steps.append(self.now)

    def count(self, where):
        if self.now is not None:
            self.now[where] += 1

    def per_step(self):
        """The mean over the steps but those near the start and the end of an epoch."""
        inner = [sum(s.values()) for i, s in enumerate(self.steps) if 5 < i % STEPS < STEPS - 5]
        self.steps, self.now = [], None
        return sum(inner) / len(inner)


def owners_and_names():
    """(class or module, attribute) of everything that brings values of a tensor to the host."""
    import keras

    yield keras.ops, "convert_to_numpy"
    yield keras.src.backend, "convert_to_numpy"
    methods = ("__array__", "__float__", "__int__", "__bool__", "__index__", "item", "tolist")
    if keras.backend.backend() == "jax":
        from jax._src.array import ArrayImpl

        owner, methods = ArrayImpl, (*methods, "block_until_ready")
    else:
        from tensorflow.python.framework.ops import _EagerTensorBase

        owner, methods = _EagerTensorBase, (*methods, "numpy", "_numpy")
    yield from ((owner, name) for name in methods if hasattr(owner, name))


@contextlib.contextmanager
def counted_reads():
    """Counts reads in this thread. A read inside another one, as `numpy` inside `__float__`, is one read."""
    reads, thread, inside, originals = Reads(), threading.current_thread(), [], []

    def counted(name, original):
        def method(*args, **kwargs):
            if inside or threading.current_thread() is not thread:
                return original(*args, **kwargs)
            frame = sys._getframe(1)
            reads.count(f"{pathlib.Path(frame.f_code.co_filename).name}:{frame.f_lineno} {name}")
            inside.append(name)
            try:
                return original(*args, **kwargs)
            finally:
                inside.pop()

        return method

    for owner, name in owners_and_names():
        original = getattr(owner, name)
        originals.append((owner, name, original))
        setattr(owner, name, counted(name, original))
    try:
        yield reads
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


@contextlib.contextmanager
def steps_of(reads):
    """Tells `reads` of every call of the train function of the models that `fit` is called on."""
    import keras

    if reads is None:
        yield
        return
    original = keras.Model.make_train_function

    def make(model, force=False):
        original(model, force)
        function = model.train_function

        def step(*args):
            reads.step()
            return function(*args)

        model.train_function = step

    keras.Model.make_train_function = make
    try:
        yield
    finally:
        keras.Model.make_train_function = original


if __name__ == "__main__":
    main()
