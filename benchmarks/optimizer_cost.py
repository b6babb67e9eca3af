"""The time that adaptive gradient clipping and weight averaging add to a training step.

Run      python benchmarks/optimizer_cost.py --rounds 5 --output docs/results/optimizer_cost.json
Work     ResNet-50 of keras_tricks at 224 px, batch 16, float32, one random batch in memory.
Sides    sgd; agc = AGC(SGD); ema = SGD with the WeightEMA callback; per_tensor = AGC with one norm per variable pair,
         as published for Keras by sayakpaul and kecam (reduce, compare and scale in separate small operations).
Method   All sides run in one process and alternate, round by round. Median of all steps; ratio to sgd.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()

    import keras
    import numpy as np
    import tensorflow as tf

    import keras_tricks as kt

    sgd = lambda: kt.optimizers.SGD(0.01, weight_decay=5e-5)  # noqa: E731
    agc = lambda: kt.optimizers.AGC(sgd())  # noqa: E731
    sides = {"sgd": sgd, "agc": agc, "ema": sgd, "per_tensor": lambda: per_tensor_agc(sgd())}
    rng = np.random.default_rng(0)
    shape = (args.batch, args.image_size, args.image_size, 3)
    images = tf.constant(rng.normal(size=shape).astype("float32"))
    labels = tf.constant(rng.integers(0, 1000, args.batch))
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    models, times = {}, {name: [] for name in sides}
    for name, optimizer in sides.items():
        models[name] = kt.models.create_model("resnet50", input_shape=shape[1:])
        models[name].compile(optimizer(), "sparse_categorical_crossentropy", jit_compile=False)
    averages = {"ema": [kt.callbacks.WeightEMA(0.9999)]}

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

    for round_ in range(args.rounds + 1):  # the first round traces and does not count
        for name, model in models.items():
            clock = Clock()
            model.fit(data, steps_per_epoch=args.steps + 1, verbose=0, shuffle=False,
                      callbacks=[*averages.get(name, []), clock])
            if round_:
                times[name] += [b - a for a, b in zip(clock.ends[1:], clock.ends[2:], strict=False)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "seconds_per_step": medians,
        "ratio_to_sgd": {name: median / medians["sgd"] for name, median in medians.items()},
        "n": len(times["sgd"]), "batch": args.batch, "image_size": args.image_size, "cpus": os.cpu_count(),
        "machine": platform.machine(), "python": platform.python_version(), "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    for name, median in medians.items():
        print(f"{name:<12}{median:8.3f} s   {result['ratio_to_sgd'][name]:.3f} x sgd")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result, indent=2) + "\n")


def per_tensor_agc(inner):
    """The published form: unit norms by rank, `maximum`, `where` and a full-size multiplier for every tensor."""
    import tensorflow as tf

    from keras_tricks.optimizers.wrapper import OptimizerWrapper

    class PerTensor(OptimizerWrapper):
        def step(self, gradients, variables):
            return [self.clip(g, tf.convert_to_tensor(v)) for g, v in zip(gradients, variables, strict=True)], None

        def clip(self, gradient, weight):
            axes = list(range(len(weight.shape) - 1)) or None
            norm = lambda x: tf.sqrt(tf.reduce_sum(x**2, axis=axes, keepdims=True))  # noqa: E731
            limit = tf.maximum(norm(weight), 1e-3) * 0.01
            found = norm(gradient)
            return tf.where(found < limit, gradient, gradient * (limit / tf.maximum(found, 1e-6)))

    return PerTensor(inner)


if __name__ == "__main__":
    main()
