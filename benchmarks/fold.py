"""Inference on the CPU: folded models compared with their original models.

Run      python benchmarks/fold.py [--models nfnet_f0=256 resnet50d=224 ...] [--rounds 30] [--output results.json]
Method   Each model and its folded form run as graphs in one process on the same random image, batch 1, float32. They
         alternate, so that a slowdown of the machine affects both. Medians.
Equal    The last column is the largest difference of the outputs divided by the largest output.
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
MODELS = ("nfnet_f0=256", "nf_resnet50=224", "resnet50d=224", "wide_resnet28_10=32", "inception_resnet_v2=299")


def measure(name, size, rounds):
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_tricks as kt

    keras.utils.set_random_seed(0)
    options = {"skip_gain_init": 1.0} if name.startswith("nf") else {}  # else every branch would be multiplied by 0
    model = kt.models.create_model(name, input_shape=(size, size, 3), classifier_activation=None, **options)
    image = tf.constant(np.random.default_rng(0).normal(size=(1, size, size, 3)), tf.float32)
    sides = {kind: tf.function(lambda x, m=m: m(x, training=False), autograph=False)
             for kind, m in (("model", model), ("folded", kt.export.fold(model)))}
    outputs = {kind: side(image).numpy() for kind, side in sides.items()}
    operations = {kind: len(side.get_concrete_function(image).graph.get_operations()) for kind, side in sides.items()}
    seconds = {kind: [] for kind in sides}
    for turn in range(rounds + 3):
        for kind, side in sides.items():
            start = time.perf_counter()
            side(image).numpy()
            if turn >= 3:
                seconds[kind].append(time.perf_counter() - start)
    difference = float(np.abs(outputs["model"] - outputs["folded"]).max() / np.abs(outputs["model"]).max())
    return {"size": size, "seconds": seconds, "operations": operations, "difference": difference}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME=PIXELS")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    args = parser.parse_args()
    found = {name: measure(name, int(size), args.rounds) for name, size in (m.split("=") for m in args.models)}
    import keras
    import tensorflow as tf

    setting = {"rounds": args.rounds, "cpus": os.cpu_count(), "platform": platform.platform(),
               "keras": keras.__version__, "tensorflow": tf.__version__}
    print("\n" + ", ".join(f"{key} {value}" for key, value in setting.items()) + "\n")
    print("| model | px | ms | folded ms | times faster | operations | folded | difference |\n" + "|---" * 8 + "|")
    for name, row in found.items():
        ms = {kind: 1000 * statistics.median(s) for kind, s in row["seconds"].items()}
        print(f"| {name} | {row['size']} | {ms['model']:.1f} | {ms['folded']:.1f} | {ms['model'] / ms['folded']:.2f} | "
              f"{row['operations']['model']:,} | {row['operations']['folded']:,} | {row['difference']:.1g} |")
    if args.output:
        args.output.write_text(json.dumps({"setting": setting, "models": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
