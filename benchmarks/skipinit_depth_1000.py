"""The first updates of a wide ResNet of depth 1000 with batch normalization, SkipInit and neither, on the digits.

    python benchmarks/skipinit_depth_1000.py --seeds 3 --updates 10

Prints, for each kind, the root mean square of the initial logits and the loss before each update, on batches of 32 with
the learning rate of `nfnet/digits_skipinit_depth` (0.05 at this batch). Training to the end takes hours on a laptop.
"""

import argparse
import math
import time

import keras
import numpy as np

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.recipe import load_recipe
from keras_tricks.run.build import build_loss, build_optimizer


def first_updates(norm, depth, seed, updates):
    """(root mean square of the initial logits, the loss before each update) of one network, run eagerly."""
    recipe = load_recipe("nfnet/digits_skipinit_depth").replace(
        seed=seed, model={"options": {"depth": depth, "norm": norm}}, schedule={"batch_size": 32})
    ready = training.prepare(recipe)
    batches, network = iter(training.training_batches(ready, range(1))), ready.network
    optimizer = build_optimizer(recipe)
    optimizer.learning_rate = ready.plan.rate(1)
    network.compile(optimizer=optimizer, loss=build_loss(recipe), run_eagerly=True)
    losses, scale = [], None
    for _ in range(updates):
        images, labels, *_ = next(batches)
        if scale is None:
            logits = keras.ops.convert_to_numpy(network(images, training=True))
            scale = float(np.sqrt(np.mean(np.square(logits, dtype="float64"))))
        losses.append(float(network.train_on_batch(images, labels, return_dict=True)["loss"]))
        if not math.isfinite(losses[-1]):
            break
    return scale, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--networks", nargs="+", default=["batch", "skipinit", "none"])
    args = parser.parse_args()
    print(f"keras {keras.__version__}, keras-tricks {kt.__version__}, depth {args.depth}, {args.updates} updates")
    print("| network | seed | rms of the initial logits | loss, first to last update | seconds |")
    print("|---|---|---|---|---|")
    for seed in range(args.seeds):
        for norm in args.networks:
            start = time.perf_counter()
            scale, losses = first_updates(norm, args.depth, seed, args.updates)
            print(f"| {norm} | {seed} | {scale:.3g} | {', '.join(f'{loss:.3g}' for loss in losses)} | "
                  f"{time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
