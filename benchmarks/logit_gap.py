"""The gap of the logits with and without label smoothing, on the digits (Bag of Tricks, section 5.2).

    python benchmarks/logit_gap.py --epochs 8 --seeds 3

Trains `quickstart` with label smoothing 0.1 and without, and prints mean and standard deviation of the gap over the
held-out images, beside the gap at the minimum of the smoothed loss.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.recipe import load_recipe


def gaps(recipe, folder):
    """The gap of every held-out image after training a recipe, and its top-1 in percent."""
    run = kt.train(recipe, output=folder, verbose=0)
    ready = training.prepare(recipe)
    logits, hits = [], []
    for images, labels, *_ in training.validation_batches(ready):
        found = keras.ops.convert_to_numpy(run.network(images, training=False))
        weights = np.asarray(_[0]) if _ else np.ones(len(found))
        logits.append(found[weights > 0])
        hits.append((found.argmax(-1) == np.asarray(labels).argmax(-1))[weights > 0])
    return kt.analysis.logit_gap(np.concatenate(logits)), 100 * np.concatenate(hits).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print("| label smoothing | gap, mean ± sd over images (each seed) | gap at the minimum of the loss | top-1 % |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for smoothing in (0.1, 0.0):
            cells, top1 = [], []
            for seed in range(args.seeds):
                recipe = load_recipe("quickstart").replace(
                    seed=seed, loss={"label_smoothing": smoothing}, schedule={"epochs": args.epochs},
                    export={"formats": ()}, train={"evaluate_every": args.epochs})
                found, hit = gaps(recipe, pathlib.Path(scratch) / f"{smoothing}_{seed}")
                cells.append(f"{found.mean():.2f} ± {found.std():.2f}")
                top1.append(f"{hit:.2f}")
            best = kt.analysis.optimal_logit_gap(10, smoothing)
            print(f"| {smoothing} | {', '.join(cells)} | {best:.2f} | {', '.join(top1)} |", flush=True)


if __name__ == "__main__":
    main()
