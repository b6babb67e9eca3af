"""Four devices against one on each Keras backend, for Keras and for keras_tricks: docs/replicas.md and README.md.

Run      python benchmarks/backends_table.py --output docs/replicas.md README.md [--python-jax PY] [--python-torch PY]
         PY is an interpreter with jax (or torch) and tensorflow, which reads the data. A side without one is left out.
Method   20 steps of a small network on the same global batches, on one CPU device and on four: max|difference of
         weights| / max|weights|. TensorFlow uses MirroredStrategy, JAX keras.distribution.DataParallel. An overflow is
         an infinite gradient on the second device: whether the weights stay finite. A leftover batch has 10 images on
         four devices, in `evaluate`. The last rows are of two processes and are not measured here, see QUOTED.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
COUNT = 4
ROWS = ("plain SGD", "clipping by global norm", "accumulation", "overflow on the second device", "batch normalization",
        "leftover batch", "arrays in fit")
# Keras and ours on two CPU processes. Keras 3.15.1 on TensorFlow 2.21.0 (MultiWorkerMirroredStrategy) and jax 0.10.2,
# with `tf.data.Dataset.range(N).map(counted).batch(16)`, N = 64, 72, 80; on torch keras-nightly 3.16. Ours:
# `tests/data/test_parts.py`, `tests/distribution/test_jax_processes.py`, `test_multi_worker.py`.
STOPS = "`fit` fails"
QUOTED = {
    "two processes: `batch_size` is of": {
        "tensorflow": (STOPS, "all"), "jax": ("all", "all"), "torch": ("each process (3.16 nightly)", "one process")},
    "two processes: images each fetches, for its 32": {
        "tensorflow": (STOPS, "32"), "jax": ("112", "32"), "torch": ("not counted", "one process")},
    "two processes: a leftover batch": {
        "tensorflow": (STOPS, "works"), "jax": ("waits for ever", "works"),
        "torch": ("connection lost (3.16 nightly)", "one process")},
    "two processes: arrays": {
        "tensorflow": (STOPS, "works"), "jax": ("fails", "works"), "torch": ("fails (3.16 nightly)", "one process")},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, nargs="+", default=[],
                        help="pages with the markers of backends_table")
    parser.add_argument("--python-jax")
    parser.add_argument("--python-torch")
    parser.add_argument("--side", choices=("tensorflow", "jax", "torch"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print("RESULT " + json.dumps(side()))
        return
    pythons = {"tensorflow": sys.executable, "jax": args.python_jax, "torch": args.python_torch}
    sides = {backend: run(python, backend) for backend, python in pythons.items() if python}
    lines = ["| | " + " | ".join(f"{backend}: Keras | {backend}: ours" for backend in sides) + " |",
             "|---" * (1 + 2 * len(sides)) + "|"]
    for row in ROWS:
        cells = [cell for found in sides.values() for cell in found["rows"].get(row, ("", ""))]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    for row, known in QUOTED.items():
        cells = [cell for backend in sides for cell in known[backend]]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    versions = "; ".join(found["versions"] for found in sides.values())
    text = f"{versions}:\n\n" + "\n".join(lines)
    print(text)
    for page in args.output:
        from page_section import replace_section

        replace_section(page, "backends_table", text)


def run(python, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3",
                   "XLA_FLAGS": f"--xla_force_host_platform_device_count={COUNT}"}
    done = subprocess.run([python, __file__, "--side", backend], capture_output=True, text=True, env=environment)
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise SystemExit(f"{backend} failed: {done.stderr[-2000:]}")
    return json.loads(results[0].removeprefix("RESULT "))


# --- one backend, in a separate process ---------------------------------------------------------------------------


def side():
    import keras

    backend = keras.backend.backend()
    versions = f"keras {keras.__version__} on {backend} {__import__(backend).__version__}"
    if backend == "torch":
        return {"versions": versions, "rows": {row: ("one device", "one device") for row in ROWS}}
    several = devices(backend)
    rows = {name: tuple(distance(case, several) for case in pair) for name, pair in cases().items()}
    rows["overflow on the second device"] = tuple(overflow(make, several) for make in loss_scales())
    rows["leftover batch"] = attempt(leftover, several), attempt(padded, several)
    rows["arrays in fit"] = attempt(arrays, several), attempt(own_arrays, several)
    return {"versions": versions, "rows": rows}


def devices(backend):
    import keras

    from keras_tricks import distribution

    if backend == "jax":
        layout = keras.distribution.DataParallel(auto_shard_dataset=False)
        return distribution.GlobalArrays(layout)
    return distribution.TensorFlowDevices(distribution.strategy("mirrored", logical_devices=COUNT))


def cases():
    from support.replicas import CASES, Case, keras_sgd

    import keras_tricks as kt

    return {
        "plain SGD": (Case(keras_sgd), CASES["sgd"]),
        "clipping by global norm": (Case(lambda: keras_sgd(global_clipnorm=0.05)), CASES["agc"]),
        "accumulation": (Case(lambda: keras_sgd(gradient_accumulation_steps=2)), CASES["accumulation"]),
        "batch normalization": (Case(keras_sgd, norm="keras"), Case(kt_sgd(kt), sync_bn=True)),
    }


def kt_sgd(kt):
    return lambda: kt.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-2)


def distance(case, several):
    from support.replicas import difference, train

    try:
        return f"{difference(train(case), train(case, several)):.1e}"
    except (RuntimeError, ValueError) as error:
        return f"fails: {type(error).__name__}"


def loss_scales():
    import keras

    import keras_tricks as kt

    return (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
            lambda: kt.optimizers.LossScale(kt.optimizers.SGD(0.01)))


def compiled(optimizer, several, policy="float32"):
    import keras
    from support import replicas

    import keras_tricks as kt

    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    with several.scope():
        model = replicas.network()
        model.compile(optimizer(), kt.losses.LabelSmoothingCrossentropy(0.0, from_logits=True), metrics=["accuracy"],
                      **several.compile_arguments(False))
    return model


def overflow(make, several):
    import keras
    import numpy as np
    import tensorflow as tf
    from support import replicas

    model = compiled(make, several, "mixed_float16")
    try:
        with several.fit_scope():
            model.fit(replicas.batches(steps=2), verbose=0, shuffle=False)
            images, labels = (value.numpy() for value in next(iter(replicas.batches())))
            images[replicas.BATCH // COUNT] = np.inf
            model.fit(tf.data.Dataset.from_tensors((images, labels)), verbose=0, shuffle=False)
        weights = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    finally:
        keras.config.set_dtype_policy("float32")
    return "finite" if all(np.isfinite(w).all() for w in weights) else "weights infinite"


def attempt(work, several):
    try:
        return work(several)
    except Exception as error:  # a row of the table
        return f"fails: {type(error).__name__}"


def data(count):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 8, 8, 3)).astype("float32"), np.eye(4, dtype="float32")[rng.integers(0, 4, count)]


def leftover(several):
    import tensorflow as tf

    model = compiled(kt_sgd(__import__("keras_tricks")), several)
    with several.fit_scope():
        model.evaluate(tf.data.Dataset.from_tensor_slices(data(26)).batch(16), verbose=0)
    return "works"


def padded(several):
    """As `data.evaluation_batches`: whole batches, with weight 0 for what was added."""
    import numpy as np
    import tensorflow as tf

    x, y = data(26)
    weight = np.ones(32, "float32")
    weight[26:] = 0
    x, y = (np.concatenate([array, array[:6]]) for array in (x, y))
    model = compiled(kt_sgd(__import__("keras_tricks")), several)
    with several.fit_scope():
        model.evaluate(tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(16), verbose=0)
    return "works"


def arrays(several):
    model = compiled(kt_sgd(__import__("keras_tricks")), several)
    with several.fit_scope():
        model.fit(*data(64), batch_size=16, epochs=1, verbose=0)
    return "works"


def own_arrays(several):
    import keras_tricks as kt

    with several.scope():
        scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
            learning_rate=0.1, batch_size=16, factor=2, milestones=(1,), epochs=2, dataset_size=64)
    model = compiled(kt_sgd(kt), several)
    with several.fit_scope():
        for phase in scheduler.plan:
            model.fit(scheduler.batch(data(64), phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                      callbacks=[scheduler], verbose=0)
    return "works"


if __name__ == "__main__":
    main()
