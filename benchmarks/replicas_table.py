"""The effect of N replicas on the optimizers of Keras and on those of keras_tricks: the table of docs/replicas.md.

Run      python benchmarks/replicas_table.py --output docs/replicas.md
Method   20 steps of a small network on the same global batches, on one CPU device and on 2 and 4 mirrored ones:
         max|difference of weights| / max|weights|.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

TABLE = """keras {keras}, tensorflow {tensorflow}:

| what | 2 replicas | 4 replicas |
|---|---|---|
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of replicas_table")
    output = parser.parse_args().output

    from page_section import replace_section

    from keras_tricks import distribution

    distribution.strategy("mirrored", logical_devices=4)
    import keras
    import tensorflow as tf
    from support.replicas import CASES, Case, difference, keras_sgd, train

    plain = {
        "keras SGD": Case(keras_sgd),
        "keras SGD, weight_decay": Case(lambda: keras_sgd(weight_decay=1e-2)),
        "keras SGD, clipnorm": Case(lambda: keras_sgd(clipnorm=0.02)),
        "keras SGD, global_clipnorm": Case(lambda: keras_sgd(global_clipnorm=0.05)),
        "keras SGD, clipvalue": Case(lambda: keras_sgd(clipvalue=0.005)),
        "keras SGD, gradient_accumulation_steps=2": Case(lambda: keras_sgd(gradient_accumulation_steps=2)),
        "keras LossScaleOptimizer(SGD), mixed_float16": Case(
            lambda: keras.optimizers.LossScaleOptimizer(keras_sgd()), "mixed_float16"),
    }
    ours = {f"ours: {name.replace('_', ' ')}": case for name, case in CASES.items()}
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    lines = []
    for name, case in {**plain, **ours}.items():
        one, cells = train(case), []
        for count in (2, 4):
            try:
                several = train(case, distribution.mirrored(devices[:count]))
                cells.append(f"{difference(one, several):.1e}")
            except RuntimeError as error:
                cells.append(f"fails: {type(error).__name__}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if output:
        table = TABLE.format(keras=keras.__version__, tensorflow=tf.__version__) + "\n".join(lines)
        replace_section(output, "replicas_table", table)


if __name__ == "__main__":
    main()
