"""`keras-tricks train quickstart` on each Keras backend, in one sitting: the table of docs/guides/many_machines.md.

Run      python benchmarks/quickstart_backends.py [--python-jax PY] [--python-torch PY] [--output PAGE]
         PY is an interpreter with jax (or torch) and tensorflow. A side without one is left out.
Method   The command as a user types it, one backend after the other: seconds of the whole process with its start, the
         last and the best top-1 of `summary.csv`. A process on TensorFlow then opens `export/model.keras` and
         `export/saved_model` of each run; their probabilities must differ by at most 1e-5.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]
OPEN = """
import sys, keras, numpy as np, tensorflow as tf
import keras_tricks
folder = sys.argv[1] + "/export/"
model = keras.models.load_model(folder + "model.keras", compile=False)
pixels = np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:])).astype("float32")
served = tf.saved_model.load(folder + "saved_model").signatures["serving_default"](pixels=tf.constant(pixels))
print("RESULT", float(np.abs(served["probabilities"] - model(pixels)).max()))
"""
VERSIONS = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python-jax")
    parser.add_argument("--python-torch")
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of quickstart_backends")
    args = parser.parse_args()
    pythons = {"tensorflow": sys.executable, "jax": args.python_jax, "torch": args.python_torch}
    lines = ["| backend | seconds | top-1, % | best, % | exports differ by | versions |", "|---" * 6 + "|"]
    with tempfile.TemporaryDirectory() as folder:
        for backend, python in pythons.items():
            if python is None:
                continue
            seconds, last, best = train(python, backend, pathlib.Path(folder) / backend)
            opened = python_of(python, "tensorflow", "-c", OPEN, pathlib.Path(folder) / backend).split("RESULT")[1]
            if float(opened) > 1e-5:
                raise SystemExit(f"the exports of {backend} differ by {opened}")
            versions = python_of(python, backend, "-c", VERSIONS, "keras", backend).strip()
            lines.append(f"| {backend} | {seconds:.0f} | {last:.2f} | {best:.2f} | {float(opened):.1e} | {versions} |")
            print(lines[-1], flush=True)
    if args.output:
        from page_section import replace_section

        replace_section(args.output, "quickstart_backends", "\n".join(lines))


def python_of(python, backend, *words):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([python, *map(str, words)], capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{backend}: {done.stderr[-2000:]}")
    return done.stdout


def train(python, backend, folder):
    """(seconds, last top-1, best top-1)."""
    start = time.perf_counter()
    python_of(python, backend, "-m", "keras_tricks", "train", "quickstart", "--output", folder)
    seconds = time.perf_counter() - start
    rows = [float(row["top1"]) for row in csv.DictReader(open(folder / "summary.csv"))]
    return seconds, rows[-1], max(rows)


if __name__ == "__main__":
    main()
