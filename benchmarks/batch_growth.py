"""The speed of growing the batch: seconds per epoch in each phase, compared with the decay that it replaces.

Run      python benchmarks/batch_growth.py [--model wide_resnet16_1] [--images 4000] [--rounds 5] [--output JSON]
Work     The network with ghost batch normalization of 32, on random 32-pixel images in memory; `increase_batch` 32,
         160, 800 and `decay` at 32, in three equally long phases. An epoch is timed from its first batch to its last.
Method   Both sides run in one process and alternate, epoch by epoch. The first epoch of a phase, which traces or
         compiles, does not count. Medians over the rounds.
Traces   Number of times that Keras traced the train step: once for all sizes in one `fit`; once per size with one `fit`
         per phase (static shapes).
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import keras
import numpy as np

import keras_tricks as kt

SIZES = (32, 160, 800)


class Counted(keras.Model):
    """A model that counts how often its train step is traced."""

    traces = 0

    def train_step(self, data):
        Counted.traces += 1
        return super().train_step(data)


def build(args):
    network = kt.models.create_model(args.model, ghost_batch_size=32, classifier_activation=None)
    model = Counted(network.input, network.output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kt.optimizers.SGD(0.025, weight_decay=5e-4), loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # else the step that creates its variables is traced once more
    return model


def scheduler(args, mode, epochs_per_phase):
    return kt.callbacks.BatchSizeScheduler.instead_of_decay(
        0.025, SIZES[0], 5, (epochs_per_phase, 2 * epochs_per_phase), 3 * epochs_per_phase, args.images,
        max_batch_size=SIZES[-1], momentum=0.9, mode=mode)


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.start = None

    def on_train_batch_begin(self, batch, logs=None):
        self.start = self.start or time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for key, value in {"model": "wide_resnet16_1", "images": 4000, "rounds": 5}.items():
        parser.add_argument(f"--{key}", type=type(value), default=value)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    data = rng.normal(size=(args.images, 32, 32, 3)).astype("float32"), rng.integers(0, 10, args.images)
    length = args.rounds + 1
    sides = {mode: (build(args), scheduler(args, mode, length)) for mode in ("decay", "increase_batch")}
    batches = {mode: plan.batch(data) for mode, (_, plan) in sides.items()}
    seconds = {mode: [] for mode in sides}
    for epoch in range(3 * length):
        for mode, (model, plan) in sides.items():
            clock = Clock()
            model.fit(batches[mode], initial_epoch=epoch, epochs=epoch + 1, callbacks=[clock, plan], shuffle=False,
                      verbose=0)
            seconds[mode].append(clock.seconds)
    one_fit = count_traces(args, data, per_phase=False)
    fit_per_phase = count_traces(args, data, per_phase=True)

    print(f"{args.model}, {args.images} images, cpus {os.cpu_count()}, {platform.platform()}, "
          f"keras {keras.__version__}, n {args.rounds}")
    print("| batch | updates per epoch | seconds per epoch, growing | at 32 | growing / at 32 |\n" + "|---" * 5 + "|")
    totals = []
    for phase, size in enumerate(SIZES):
        counted = slice(phase * length + 1, (phase + 1) * length)
        decay, grow = (statistics.median(seconds[mode][counted]) for mode in sides)
        totals.append((decay, grow))
        print(f"| {size} | {args.images // size} | {grow:.2f} | {decay:.2f} | {grow / decay:.2f} |")
    ratio = sum(g for _, g in totals) / sum(d for d, _ in totals)
    print(f"\nwhole run, three phases of equal length: growing takes {ratio:.2f} of the time of the decay")
    print(f"traces: {one_fit} in one fit, {fit_per_phase} with one fit per phase, {len(SIZES)} sizes")
    if args.output:
        result = {"setting": {k: str(v) for k, v in vars(args).items()}, "seconds": seconds, "ratio": ratio,
                  "traces": {"one fit": one_fit, "one fit per phase": fit_per_phase}}
        args.output.write_text(json.dumps(result, indent=1) + "\n")


def count_traces(args, data, per_phase):
    model, plan = build(args), scheduler(args, "increase_batch", 1)
    Counted.traces = 0
    if not per_phase:
        model.fit(plan.batch(data), epochs=3, callbacks=[plan], shuffle=False, verbose=0)
    else:
        for phase in plan.plan:
            model.fit(plan.batch(data, phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                      callbacks=[plan], shuffle=False, verbose=0)
    return Counted.traces


if __name__ == "__main__":
    main()
