"""Inference of exported SavedModels, folded or not, compared with timm, eager or compiled: milliseconds per batch.

Run      python benchmarks/deploy.py --python-torch PY [--rounds 5] [--batch 1] [--output JSON]
         PY is an interpreter with torch and timm.
Work     One random batch, float32. SavedModels: the endpoint `serve`, exported by `kt.export.export`, pixels in and
         probabilities out (including normalization). timm: the plain network, channels last, inference mode; compiled
         by `torch.compile` with its default backend.
Method   Each side runs in a separate process, and the sides alternate. Median of all calls of all rounds, without the
         first 3 calls of each process.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

SKIPPED, CALLS = 3, 8
MODELS = {  # name: (timm's name, pixels)
    "resnet50d": ("resnet50d", 224),
    "resnet_rs50": ("resnetrs50", 160),
    "nfnet_f0": ("dm_nfnet_f0", 256),
}
SIDES = ("SavedModel", "folded SavedModel", "timm eager", "timm compiled")
VERSIONS = "keras tensorflow torch timm".split()


def prepare(name, size, folder):
    """Exports a model and its folded form as SavedModels."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import keras

    import keras_tricks as kt
    from keras_tricks.recipe import Data

    keras.utils.set_random_seed(0)
    network = kt.models.create_model(name, input_shape=(size, size, 3), classifier_activation=None)
    for side, form in (("SavedModel", network), ("folded SavedModel", kt.export.fold(network))):
        model = kt.export.deployable(lambda form=form: form, form, Data(image_size=size))
        kt.export.export(model, folder / name / side, ["saved_model"])


def saved_model(path, batch, size):
    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path / "saved_model"))
    pixels = tf.constant(np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)), tf.float32)
    return lambda: loaded.serve(pixels).numpy()


def timm_call(name, batch, size, compiled):
    try:
        import tv_shim  # noqa: F401
    except ImportError:
        pass  # declares torchvision's operators on a machine without CUDA
    import timm
    import torch

    torch.set_num_threads(os.cpu_count())
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    model = timm.create_model(name).eval().to(memory_format=torch.channels_last)
    model = torch.compile(model) if compiled else model

    def call():
        with torch.inference_mode():
            return model(images).numpy()

    return call


def measure(model, side, args):
    name, size = MODELS[model]
    if side.startswith("timm"):
        call = timm_call(name, args.batch, size, side == "timm compiled")
    else:
        call = saved_model(args.folder / model / side, args.batch, size)
    seconds = []
    for _ in range(SKIPPED + CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[SKIPPED:],
            "versions": [f"{m} {sys.modules[m].__version__}" for m in VERSIONS if m in sys.modules]}


def child(python, *words):
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([python, __file__, *sys.argv[1:], *map(str, words)], env=environment, capture_output=True,
                          text=True)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr[-2000:]}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python-torch", metavar="PY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        model, side = args.child
        if side == "prepare":
            return prepare(model, MODELS[model][1], args.folder)
        return print(json.dumps(measure(model, side, args)))
    runs = {f"{model}, {side}": [] for model, side in itertools.product(MODELS, SIDES)
            if args.python_torch or "timm" not in side}
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            child(sys.executable, "--folder", folder, "--child", model, "prepare")
        for turn, name in itertools.product(range(1, args.rounds + 1), runs):
            model, side = name.split(", ")
            python = args.python_torch if "timm" in side else sys.executable
            runs[name].append(json.loads(child(python, "--folder", folder, "--child", model, side).splitlines()[-1]))
            print(f"round {turn}: {name} done", flush=True)
    ms = {name: 1000 * statistics.median(s for run in found for s in run["seconds"]) for name, found in runs.items()}
    setting = {"rounds": args.rounds, "batch": args.batch, "cpus": os.cpu_count(), "platform": platform.platform(),
               "versions": sorted({v for found in runs.values() for v in found[0]["versions"]})}
    print("\n" + ", ".join(f"{key} {value}" for key, value in setting.items()) + "\n")
    print("| model | px | " + " | ".join(f"{side}, ms" for side in SIDES) + " | folding | vs. compiled |")
    print("|---" * (len(SIDES) + 4) + "|")
    for model, (_, size) in MODELS.items():
        row = [ms.get(f"{model}, {side}", float("nan")) for side in SIDES]
        print(f"| {model} | {size} | " + " | ".join(f"{value:.1f}" for value in row)
              + f" | {row[0] / row[1]:.2f} | {row[3] / row[1]:.2f} |")
    if args.output:
        args.output.write_text(json.dumps({"setting": setting, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
