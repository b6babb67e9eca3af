"""Training and inference of ResNet-RS, compared with EfficientNets of similar accuracy and with other libraries.

Run      python benchmarks/resnet_rs.py --python-keras-tricks PY --python-torch PY [--output JSON] [--rounds 3]
         [--only resnet_rs50@160 ...]
         The interpreters PY need the dependencies of this package, and torch and timm.
Work     One random batch in memory, float32. Training: forward, backward, SGD with momentum, softmax cross-entropy.
         Inference: `predict_on_batch`; in torch eval mode without gradients. timm is eager, channels last.
Method   Each side runs in a separate process, and the sides alternate. Median of all steps of all rounds, without the
         first 3 steps of each process.
Paper    Bello et al. 2021, arXiv:2103.07579, table 3: training steps of ResNet-RS are 2.7 times (TPUv3) and 3.3 times
         (V100) faster than those of the EfficientNet of similar accuracy (RS-350 at 256 pixels, B6 at 528).
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
import time

SKIPPED = 3
SIDES = {  # name: (framework, model, pixels)
    "resnet_rs101@160": ("keras_tricks", "resnet_rs101", 160),
    "efficientnet_b2@260": ("keras_tricks", "efficientnet_rs_b2", 260),
    "efficientnet_b3@300": ("keras_tricks", "efficientnet_rs_b3", 300),
    "timm resnetrs101@160": ("timm", "resnetrs101", 160),
    "timm efficientnet_b2@260": ("timm", "efficientnet_b2", 260),
    "resnet_rs50@160": ("keras_tricks", "resnet_rs50", 160),
    "timm resnetrs50@160": ("timm", "resnetrs50", 160),
    "keras.applications ResNet50@160": ("applications", "ResNet50", 160),
}
PAIRS = [  # the speed of the first is divided by that of the second
    ("resnet_rs101@160", "efficientnet_b2@260"),
    ("resnet_rs101@160", "efficientnet_b3@300"),
    ("timm resnetrs101@160", "timm efficientnet_b2@260"),
    ("resnet_rs101@160", "timm resnetrs101@160"),
    ("resnet_rs50@160", "timm resnetrs50@160"),
    ("resnet_rs50@160", "keras.applications ResNet50@160"),
]
VERSIONS = "keras tensorflow torch timm".split()


def keras_steps(framework, name, images, labels):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import keras

    import keras_tricks as kt

    if framework == "applications":
        model = getattr(keras.applications, name)(weights=None, input_shape=images.shape[1:])
    else:
        model = kt.models.create_model(name, input_shape=images.shape[1:])
    model.compile(kt.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    return lambda: model.train_on_batch(images, labels), lambda: model.predict_on_batch(images)


def timm_steps(_, name, images, labels):
    try:
        import tv_shim  # noqa: F401
    except ImportError:
        pass  # declares torchvision's operators on a machine without CUDA
    import timm
    import torch

    torch.set_num_threads(os.cpu_count())
    images, labels = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
    images = images.contiguous(memory_format=torch.channels_last)
    model = timm.create_model(name).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)

    def train():
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer():
        model.eval()
        with torch.inference_mode():
            return model(images).numpy()

    return train, infer


def measure(name, args):
    import numpy as np

    framework, model, size = SIDES[name]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(args.batch, size, size, 3)).astype("float32")
    make = timm_steps if framework == "timm" else keras_steps
    train, infer = make(framework, model, images, rng.integers(0, 1000, args.batch))
    result = {"train": timed(train, args.steps), "infer": timed(infer, args.steps)}
    result["versions"] = [f"{m} {sys.modules[m].__version__}" for m in VERSIONS if m in sys.modules]
    return result


def timed(step, count):
    seconds = []
    for _ in range(SKIPPED + count):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds[SKIPPED:]


def child(name, args):
    python = args.python_torch if SIDES[name][0] == "timm" else args.python_keras_tricks
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([python, __file__, *sys.argv[1:], "--child", name], env=environment, capture_output=True,
                          text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python-keras-tricks", metavar="PY", default=sys.executable)
    parser.add_argument("--python-torch", metavar="PY")
    for key, value in {"rounds": 3, "steps": 4, "batch": 8}.items():
        parser.add_argument(f"--{key}", type=int, default=value)
    parser.add_argument("--only", nargs="+", choices=SIDES)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return print(json.dumps(measure(args.child, args)))
    names = [n for n in args.only or SIDES if args.python_torch or SIDES[n][0] != "timm"]
    runs = {name: [] for name in names}
    for turn, name in itertools.product(range(1, args.rounds + 1), names):
        runs[name].append(child(name, args))
        print(f"round {turn}: {name} done", flush=True)
    speeds = {name: {kind: args.batch / statistics.median(s for run in found for s in run[kind])
                     for kind in ("train", "infer")} for name, found in runs.items()}
    versions = sorted({v for found in runs.values() for run in found for v in run["versions"]})
    print(f"\nbatch {args.batch}, cpus {os.cpu_count()}, {', '.join(versions)}, n {args.rounds * args.steps}\n")
    print("| side | training, images/s | inference, images/s |\n|---|---|---|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed['train']:.2f} | {speed['infer']:.1f} |")
    print("\n| speed of | to that of | training | inference |\n|---|---|---|---|")
    for a, b in PAIRS:
        if {a, b} <= speeds.keys():
            ratios = (f"{speeds[a][kind] / speeds[b][kind]:.2f}" for kind in ("train", "infer"))
            print(f"| {a} | {b} | {' | '.join(ratios)} |")
    if args.output:
        setting = {"batch": args.batch, "steps": args.steps, "rounds": args.rounds, "cpus": os.cpu_count(),
                   "platform": platform.platform(), "versions": versions}
        args.output.write_text(json.dumps({"setting": setting, "speeds": speeds, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
