"""The first gradient in bfloat16 on each backend, beside float32: the section of docs/replicas.md.

Run      python benchmarks/bfloat16_gradients.py [--python-jax PY] [--python-torch PY] [--output docs/replicas.md]
         PY is an interpreter with jax (or torch). A side without one is left out.
Method   The network of `backends_from_one_file.py` with batch normalization, from one weight file, on one batch of 16
         images of 8 x 8 pixels: the weights before and after one step of SGD with the rate 1 give the gradient. A
         number is max|difference| / max|gradient| of one variable. "off" is against TensorFlow's gradient in float32.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of bfloat16_gradients")
    parser.add_argument("--python-jax")
    parser.add_argument("--python-torch")
    parser.add_argument("--side", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side(args.side)
        return
    pythons = {"tensorflow": sys.executable, "jax": args.python_jax, "torch": args.python_torch}
    pythons = {backend: python for backend, python in pythons.items() if python}
    with tempfile.TemporaryDirectory() as folder:
        for backend, python in pythons.items():
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            subprocess.run([python, __file__, "--side", folder], check=True, env=environment)
        text = table(pathlib.Path(folder), list(pythons))
    print(text)
    if args.output:
        from page_section import replace_section

        replace_section(args.output, "bfloat16_gradients", text)


def table(folder, backends):
    import numpy as np

    found = {backend: np.load(folder / f"{backend}.npz") for backend in backends}

    def distance(one, other):
        return f"{np.abs(one - other).max() / np.abs(other).max():.1e}"

    others = backends[1:]
    head = [*(f"{backend}, off" for backend in backends), *(f"{backend} from tensorflow" for backend in others)]
    lines = [f"| gradient of | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in (key.removeprefix("float32 ") for key in found["tensorflow"].files if key.startswith("float32 ")):
        low = {backend: found[backend][f"mixed_bfloat16 {name}"] for backend in backends}
        right = found["tensorflow"][f"float32 {name}"]
        cells = [distance(low[b], right) for b in backends] + [distance(low[b], low["tensorflow"]) for b in others]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def side(folder):
    """Writes the gradients of one backend, `{policy variable: array}`. TensorFlow, the first, writes the weights."""
    import backends_from_one_file as common
    import keras
    import numpy as np

    import keras_tricks as kt

    backend, found, to_numpy = keras.backend.backend(), {}, keras.ops.convert_to_numpy
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(policy)
        network, initial = common.network("keras"), folder / "initial.weights.h5"
        if not initial.exists():
            network.save_weights(initial)
        network.load_weights(initial)
        before = [to_numpy(v).copy() for v in network.trainable_variables]
        network.compile(keras.optimizers.SGD(1.0), kt.losses.LabelSmoothingCrossentropy(0.1, from_logits=True),
                        jit_compile=backend == "jax")
        common.fit(network, [], 1)
        found |= {f"{policy} {v.path}": w - to_numpy(v)
                  for v, w in zip(network.trainable_variables, before, strict=True)}
    np.savez(folder / f"{backend}.npz", **found)


if __name__ == "__main__":
    main()
