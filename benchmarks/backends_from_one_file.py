"""The same training on each Keras backend from one weight file: the section of docs/replicas.md.

Run      python benchmarks/backends_from_one_file.py --output docs/replicas.md [--python-jax PY] [--python-torch PY]
         PY is an interpreter with jax (or torch) and tensorflow, which reads the data. A side without one is left out.
Method   TensorFlow writes the initial weights of each row to a `.weights.h5` file, which every side loads. One CPU
         device, 20 steps on the same batches of 16. A number is max|difference of weights| / max|weights| against
         TensorFlow after 4 and after 20 steps. Rows that draw random numbers on the device (dropped paths, dropout)
         differ by their random streams; with the rate 0 they must not.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
AFTER, STEPS, BATCH = (4, 20), 20, 16
LIMIT = 1e-5
EXPLAINED = {
    "dropped paths, rate 0.2": "another random stream",
    "dropout, rate 0.2": "another random stream",
    "mixed_float16, overflow in step 3": "float16 has 11 bits: one rounding is 5e-4",
    "mixed_bfloat16": "gradients of biases, see below",
    "mixed_bfloat16, without biases": "bfloat16 has 8 bits: one rounding is 4e-3",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of one_file")
    parser.add_argument("--python-jax")
    parser.add_argument("--python-torch")
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--side", choices=("tensorflow", "jax", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print("RESULT " + side(args.folder, args.rows))
        return
    pythons = {"tensorflow": sys.executable, "jax": args.python_jax, "torch": args.python_torch}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        versions = {backend: run(python, backend, folder, args.rows) for backend, python in pythons.items() if python}
        text, wrong = table(folder, versions)
    print(text)
    if args.output:
        from page_section import replace_section

        replace_section(args.output, "one_file", text)
    if wrong:
        raise SystemExit(f"above {LIMIT:g} and not explained: {', '.join(wrong)}")


def run(python, backend, folder, rows):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [python, __file__, "--side", backend, "--folder", str(folder), *(["--rows", *rows] if rows else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise SystemExit(f"{backend} failed: {done.stderr[-3000:]}")
    return results[0].removeprefix("RESULT ")


def table(folder, versions):
    """(the section of the page, names of rows that are above the limit without a reason)."""
    import numpy as np

    found = {backend: json.loads((folder / f"{backend}.json").read_text()) for backend in versions}
    others = [backend for backend in found if backend != "tensorflow"]
    columns = [f"{backend}, {steps} steps" for backend in others for steps in AFTER]
    lines = [f"| | {' | '.join(columns)} | |", "|---" * (len(columns) + 2) + "|"]
    wrong = []
    for row in found["tensorflow"]:
        cells = []
        for backend in others:
            for steps in AFTER:
                reason = found[backend][row] or found["tensorflow"][row]
                if reason:
                    cells.append(f"fails: {reason}")
                    continue
                one, other = (np.load(folder / f"{name(row)}_{side}_{steps}.npy") for side in ("tensorflow", backend))
                cells.append(f"{np.abs(one - other).max() / np.abs(one).max():.1e}")
        high = any(cell.startswith("fails") or not float(cell) <= LIMIT for cell in cells)
        if high and row not in EXPLAINED:
            wrong.append(row)
        lines.append(f"| {row} | {' | '.join(cells)} | {EXPLAINED.get(row, '')} |")
    return f"{'; '.join(versions.values())}:\n\n" + "\n".join(lines), wrong


def name(row):
    return "".join(c if c.isalnum() else "_" for c in row)


# --- one backend, in a process of its own ---------------------------------------------------------------------------


def side(folder, only):
    import keras

    backend = keras.backend.backend()
    found = {}
    for row, make in rows().items():
        if only and row not in only:
            continue
        try:
            for steps in AFTER:
                train(folder, row, make, backend, steps)
            found[row] = ""
        except Exception as error:  # a cell of the table
            found[row] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    (folder / f"{backend}.json").write_text(json.dumps(found))
    return f"keras {keras.__version__} on {backend} {__import__(backend).__version__}"


def train(folder, row, make, backend, steps):
    """Trains a row from its file of weights, which TensorFlow writes, and writes the weights after `steps` steps."""
    import keras
    import numpy as np

    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    case = make()
    keras.config.set_dtype_policy(case.get("policy", "float32"))
    try:
        network = case["network"]()
        initial = folder / f"{name(row)}.weights.h5"
        if backend == "tensorflow":
            network.save_weights(initial)
        network.load_weights(initial)
        trainer = case.get("wrap", lambda network: network)(network)
        trainer.compile(case["optimizer"](), case["loss"](), jit_compile=backend == "jax")
        average = case.get("average")
        watch = case.get("callbacks", lambda: [])()
        case.get("fit", fit)(trainer, [*([average] if average else []), *watch], steps)
    finally:
        keras.config.set_dtype_policy("float32")
    variables = average.averages if average else [v for v in network.variables if "float" in v.dtype]
    vector = np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in variables])
    np.save(folder / f"{name(row)}_{backend}_{steps}.npy", vector)


def fit(trainer, callbacks, steps, images=None):
    x, y = arrays(steps)
    x = x if images is None else images(x)
    trainer.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)


def arrays(steps):
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * BATCH, 8, 8, 3)).astype("float32")
    y = np.eye(4, dtype="float32")[rng.integers(0, 4, STEPS * BATCH)]
    return x[: steps * BATCH], y[: steps * BATCH]


def overflowing(x):
    """One infinite pixel in the third batch."""
    x = x.copy()
    x[2 * BATCH + 3, 0, 0, 0] = float("inf")
    return x


def mixed(trainer, callbacks, steps):
    import tensorflow as tf

    import keras_tricks as kt

    data = tf.data.Dataset.from_tensor_slices(arrays(steps)).batch(BATCH, drop_remainder=True).enumerate()
    data = data.map(lambda i, xy: kt.data.mixup(*xy, 0.4, tf.stack([7, i])))
    trainer.fit(data.apply(tf.data.experimental.assert_cardinality(steps)), verbose=0, callbacks=callbacks)


def growing(trainer, callbacks, steps):
    """A batch of 16 that becomes 32; the epochs have `steps` steps together."""
    import keras_tricks as kt

    updates = {4: (2, 1), 20: (10, 5)}[steps]  # of an epoch, before and after the growth; two epochs each
    examples = tuple(a[: updates[0] * BATCH] for a in arrays(STEPS))
    scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
        learning_rate=0.05, batch_size=BATCH, factor=2, milestones=(1,), epochs=2, dataset_size=len(examples[0]))
    for phase in scheduler.plan:
        batches = scheduler.batch(examples, phase, shuffle=False)  # backends shuffle arrays in different orders
        trainer.fit(batches, initial_epoch=phase.epochs.start, epochs=phase.epochs.stop, callbacks=[scheduler],
                    verbose=0)


def network(norm="", drop_path=0.0, dropout=0.0, activation="tanh", biases=True):
    """A small network with a residual block, and tanh: a ReLU's kink can turn a rounding into another gradient."""
    import keras

    import keras_tricks as kt

    layers = keras.layers
    norms = {"keras": layers.BatchNormalization, "sync_bn": lambda: kt.layers.BatchNormalization(synchronized=True),
             "ghost": lambda: kt.layers.GhostBatchNormalization(8), "ours": kt.layers.BatchNormalization}
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=biases and not norm, name="stem")(inputs)
    x = norms[norm]()(x) if norm else x
    x = layers.Activation(activation)(x)
    branch = layers.DepthwiseConv2D(3, padding="same", activation=activation, use_bias=biases, name="branch")(x)
    if drop_path is not None:
        branch = kt.layers.DropPath(drop_path, seed=1)(branch)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, branch]))
    x = layers.Dropout(dropout, seed=1)(x) if dropout else x
    return keras.Model(inputs, layers.Dense(4, dtype="float32", name="head")(x))


def rows():
    """{row: function that returns its parts}. The parts left out are those of plain SGD."""
    import functools

    import keras

    import keras_tricks as kt

    sgd = functools.partial(kt.optimizers.SGD, 0.05, momentum=0.9, weight_decay=1e-2, no_bias_decay=True)

    def case(make=network, optimizer=sgd, loss=None, **parts):
        loss = loss or functools.partial(kt.losses.LabelSmoothingCrossentropy, 0.1, from_logits=True)
        return lambda: {"network": make, "optimizer": optimizer, "loss": loss,
                        **{name: part() if name == "average" else part for name, part in parts.items()}}

    def frozen():
        found = network("keras")
        kt.surgery.freeze(found, ["stem"], norms=True)
        return found

    def distiller(student):
        keras.utils.set_random_seed(3)
        teacher = network()
        values = [0.3 * _cosines(w.shape) for w in teacher.get_weights()]  # the same on every backend
        teacher.set_weights(values)
        return kt.losses.Distiller(student, teacher, 4.0)

    broken = functools.partial(fit, images=overflowing)
    return {
        "SGD, momentum, decay": case(),
        "Keras' SGD": case(optimizer=lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)),
        "batch normalization (Keras)": case(functools.partial(network, "keras")),
        "batch normalization (ours)": case(functools.partial(network, "ours")),
        "sync_bn": case(functools.partial(network, "sync_bn")),
        "GhostBatchNormalization, groups of 8": case(functools.partial(network, "ghost")),
        "dropped paths, rate 0": case(functools.partial(network, drop_path=0.0)),
        "dropped paths, rate 0.2": case(functools.partial(network, drop_path=0.2)),
        "dropout, rate 0.2": case(functools.partial(network, dropout=0.2)),
        "mixing (mixup)": case(fit=mixed),
        "binary cross-entropy": case(loss=lambda: kt.losses.BinaryCrossentropy(0.1, from_logits=True)),
        "AGC": case(optimizer=lambda: kt.optimizers.AGC(sgd(), 0.02)),
        "accumulation of 2": case(optimizer=lambda: kt.optimizers.GradientAccumulation(sgd(), 2)),
        "AGC, accumulation of 2": case(
            optimizer=lambda: kt.optimizers.GradientAccumulation(kt.optimizers.AGC(sgd(), 0.02), 2)),
        "loss scale, overflow in step 3": case(optimizer=lambda: kt.optimizers.LossScale(sgd()), fit=broken),
        "skip_non_finite, infinite pixel in step 3": case(
            optimizer=lambda: kt.optimizers.LossScale(sgd(), 1.0, 2**31 - 1), fit=broken),
        "mixed_float16, overflow in step 3": case(
            optimizer=lambda: kt.optimizers.LossScale(sgd()), fit=broken, policy="mixed_float16"),
        "mixed_bfloat16": case(policy="mixed_bfloat16"),
        "mixed_bfloat16, without biases": case(functools.partial(network, biases=False), policy="mixed_bfloat16"),
        "EMA": case(average=lambda: kt.callbacks.WeightEMA(0.9)),
        "BatchSizeScheduler, 16 to 32": case(fit=growing),
        "distillation": case(wrap=distiller),
        "frozen parts": case(frozen),
        "Lookahead": case(optimizer=lambda: kt.optimizers.Lookahead(sgd(), 3)),
        "LAMB": case(optimizer=lambda: keras.optimizers.Lamb(0.01, weight_decay=1e-2)),
        "Muon": case(optimizer=lambda: kt.optimizers.Muon(0.05, weight_decay=1e-3)),
    }


def _cosines(shape):
    import numpy as np

    return np.cos(np.arange(np.prod(shape, dtype=int), dtype="float32")).reshape(shape)


if __name__ == "__main__":
    main()
