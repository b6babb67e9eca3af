"""Training on a GPU with the JAX backend, without TensorFlow and tf.data: steps, memory, tricks, and a growing batch.

Run      KERAS_BACKEND=jax python benchmarks/gpu/run.py --output results.json [--python-torch PY] [--small]
         PY is an interpreter with torch and timm; without it, that side is left out and reported. `--small` takes tiny
         networks and few steps, to try the script on a CPU.
Work     steps    forward, backward, SGD with Nesterov momentum on one random batch in memory, through `model.fit`: each
                  network in float32, bfloat16 and float16, in separate processes, timm in turn with keras_tricks
         tricks   the same step of resnet50d without and with AGC, a weight average, label smoothing
         growth   Wide-ResNet-16-4 on CIFAR-10 arrays (`--cifar10 FILE.npz` with x_train, y_train, x_test, y_test;
                  without it, random images of that size): a decaying rate against a growing batch
Method   Median of the steps of all rounds, without the first 5 of each process (compiling). The sides alternate.
Memory   The peak that the device reports (`memory_stats` of JAX, `max_memory_allocated` of torch).
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

SKIPPED_STEPS = 5
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
NETWORKS = {"resnet50d": (256, 224), "resnet_rs50": (256, 160), "nfnet_f0": (128, 192)}  # batch, pixels
SMALL = {"test_resnet": (8, 64), "test_nfnet": (8, 64)}
IN_TIMM = {"resnet50d": "resnet50d", "resnet_rs50": "resnetrs50", "nfnet_f0": "dm_nfnet_f0"}
TORCH_MODES = ("eager", "channels_last", "compile")
TRICKS = ("plain", "agc", "ema", "label_smoothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("gpu.json"))
    parser.add_argument("--python-torch")
    parser.add_argument("--cifar10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=20, help="of the runs with a growing batch")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)  # JSON: one measurement, in this process
    args = parser.parse_args()
    if args.side:
        work = json.loads(args.side)
        print("RESULT " + json.dumps({"steps": torch_step, "tricks": keras_step, "keras": keras_step, "growth": growth}[
            "steps" if work["library"] == "timm" else work["kind"]](work, args)))
        return
    results = {"machine": {"python": platform.python_version(), "cpus": os.cpu_count()}, "steps": [], "tricks": [],
               "growth": []}
    networks = SMALL if args.small else NETWORKS
    for name, precision in itertools.product(networks, PRECISIONS):
        works = [{"library": "keras_tricks", "kind": "keras", "name": name, "precision": precision}]
        if args.python_torch and name in IN_TIMM:
            works += [{"library": "timm", "kind": "steps", "name": name, "precision": precision, "mode": mode}
                      for mode in TORCH_MODES]
        results["steps"] += in_turn([{**w, "shape": networks[name]} for w in works], args)
        write(args.output, results)
    first = next(iter(networks))
    works = [{"library": "keras_tricks", "kind": "tricks", "name": first, "precision": "float32", "trick": trick,
              "shape": networks[first]} for trick in TRICKS]
    results["tricks"] = in_turn(works, args)
    for mode in ("decay", "increase_batch"):
        results["growth"].append(measure({"library": "keras_tricks", "kind": "growth", "mode": mode}, args))
        write(args.output, results)
    print(table(results))


def write(path, results):
    path.write_text(json.dumps(results, indent=1) + "\n")


def in_turn(works, args):
    """Each work in several rounds, alternating: the median step of all rounds, and the largest memory."""
    rounds = [[measure(work, args) for work in works] for _ in range(args.rounds)]
    found = []
    for work, sides in zip(works, zip(*rounds, strict=True), strict=True):
        failed = [side["error"] for side in sides if "error" in side]
        if failed:
            found.append({**work, "error": failed[0]})
            continue
        seconds = [second for side in sides for second in side["seconds"]]
        step = statistics.median(seconds)
        found.append({**work, "step_ms": 1000 * step, "images_per_s": work["shape"][0] / step, "n": len(seconds),
                      "memory_gib": max(side["memory_gib"] for side in sides), "versions": sides[0]["versions"],
                      "device": sides[0]["device"]})
        print(found[-1], flush=True)
    return found


def measure(work, args):
    """The result of one process, or `{"error": its last line}`."""
    python = args.python_torch if work["library"] == "timm" else sys.executable
    words = [python, __file__, "--side", json.dumps(work), "--steps", str(args.steps), "--epochs", str(args.epochs)]
    words += ["--small"] if args.small else []
    words += ["--cifar10", args.cifar10] if args.cifar10 else []
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "jax"})
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(lines[-1].removeprefix("RESULT "))


def table(results):
    lines = ["| network | precision | side | ms a step | images/s | GiB |", "|---|---|---|---|---|---|"]
    for row in [*results["steps"], *results["tricks"]]:
        side = f"{row['library']} {row.get('mode', row.get('trick', ''))}".strip()
        figures = row.get("error") or f"{row['step_ms']:.1f} | {row['images_per_s']:.0f} | {row['memory_gib']:.2f}"
        lines.append(f"| {row['name']} | {row['precision']} | {side} | {figures} |")
    lines += ["", "| growth | top-1 % | updates | seconds |", "|---|---|---|---|"]
    for row in results["growth"]:
        lines.append(f"| {row.get('mode', row.get('error'))} | {row.get('top1', '')} | {row.get('updates', '')} | "
                     f"{row.get('seconds', '')} |")
    return "\n".join(lines)


# --- keras_tricks -----------------------------------------------------------------------------------------------------


def import_keras_tricks():
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    import jax
    import keras

    import keras_tricks as kt

    assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
    versions = {"keras": keras.__version__, "jax": jax.__version__}
    return kt, keras, {"versions": versions, "device": jax.devices()[0].device_kind}


def jax_memory():
    import jax

    statistics = jax.devices()[0].memory_stats() or {}  # a CPU reports none
    return statistics.get("peak_bytes_in_use", 0) / 2**30


def keras_step(work, args):
    import numpy as np

    kt, keras, found = import_keras_tricks()
    keras.config.set_dtype_policy(work["precision"])
    keras.utils.set_random_seed(0)
    (batch, pixels), trick = work["shape"], work.get("trick", "plain")
    model = kt.models.create_model(work["name"], classes=1000, input_shape=(pixels, pixels, 3),
                                   classifier_activation=None)
    optimizer = kt.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=5e-5)
    optimizer = kt.optimizers.AGC(optimizer, 0.01) if trick == "agc" else optimizer
    if work["precision"] == "mixed_float16":
        optimizer = kt.optimizers.LossScale(optimizer)
    smoothing = 0.1 if trick == "label_smoothing" else 0.0
    model.compile(optimizer, kt.losses.LabelSmoothingCrossentropy(smoothing, from_logits=True), jit_compile=True)

    class Clock(keras.callbacks.Callback):
        ends = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for the device
            self.ends.append(time.perf_counter())

    rng = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(rng.normal(size=(batch, pixels, pixels, 3)).astype("float32"))
    labels = keras.ops.one_hot(rng.integers(0, 1000, batch), 1000)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return args.steps + SKIPPED_STEPS

        def __getitem__(self, index):
            return images, labels

    clock = Clock()
    average = [kt.callbacks.WeightEMA(0.999)] if trick == "ema" else []
    model.fit(Batches(), epochs=1, verbose=0, shuffle=False, callbacks=[*average, clock])
    seconds = [b - a for a, b in itertools.pairwise(clock.ends)][SKIPPED_STEPS - 1:]
    return {**found, "seconds": seconds, "memory_gib": jax_memory()}


def growth(work, args):
    import numpy as np

    kt, keras, found = import_keras_tricks()
    keras.utils.set_random_seed(0)
    if args.cifar10:
        data = np.load(args.cifar10)
        x, y, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    else:
        rng, count = np.random.default_rng(0), 512 if args.small else 50_000
        x, y = rng.integers(0, 256, (count, 32, 32, 3)).astype("uint8"), rng.integers(0, 10, count)
        x_test, y_test = x[: count // 5], y[: count // 5]
    x, x_test = ((images.astype("float32") - 120) / 64 for images in (x, x_test))
    epochs = 3 if args.small else args.epochs
    model = kt.models.create_model("test_resnet" if args.small else "wide_resnet16_4", classes=10,
                                   input_shape=(32, 32, 3), stem="cifar", classifier_activation=None)
    optimizer = kt.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    milestones = sorted({max(epochs * part // 10, 1) for part in (4, 8)})
    scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
        learning_rate=0.1, batch_size=64 if args.small else 128, factor=5, milestones=milestones, epochs=epochs,
        dataset_size=len(x), momentum=0.9, mode=work["mode"])
    model.compile(optimizer, kt.losses.LabelSmoothingCrossentropy(0.0, from_logits=True), jit_compile=True)
    labels, start = np.eye(10, dtype="float32")[y.ravel()], time.perf_counter()
    for phase in scheduler.plan:
        model.fit(scheduler.batch((x, labels), phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                  callbacks=[scheduler], verbose=0)
    seconds = time.perf_counter() - start
    right = np.argmax(model.predict(x_test, verbose=0, batch_size=256), -1) == y_test.ravel()
    return {**work, **found, "top1": round(100 * float(right.mean()), 2), "seconds": round(seconds, 1),
            "updates": int(model.optimizer.iterations), "epochs": epochs, "memory_gib": jax_memory()}


# --- timm -------------------------------------------------------------------------------------------------------------


def torch_step(work, args):
    import timm
    import torch

    (batch, pixels), device = work["shape"], "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = timm.create_model(IN_TIMM[work["name"]]).to(device).train()
    images, labels = torch.randn(batch, 3, pixels, pixels, device=device), torch.randint(1000, (batch,), device=device)
    if work["mode"] != "eager":
        model, images = (value.to(memory_format=torch.channels_last) for value in (model, images))
    step_model = torch.compile(model) if work["mode"] == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-5)
    dtype = {"float32": None, "mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}[work["precision"]]
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    ends = []
    for _ in range(args.steps + SKIPPED_STEPS):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            loss = torch.nn.functional.cross_entropy(step_model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()
        ends.append(time.perf_counter())
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"seconds": [b - a for a, b in itertools.pairwise(ends)][SKIPPED_STEPS - 1:], "memory_gib": memory,
            "device": name, "versions": {"torch": torch.__version__, "timm": timm.__version__}}


if __name__ == "__main__":
    main()
