"""What N replicas do to plain Keras optimizers, and to ours: the table of docs/replicas.md.

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

PREFACE = """# The same weights on N replicas as on one

Made by `python benchmarks/replicas_table.py --output docs/replicas.md`: keras {keras}, tensorflow {tensorflow},
mirrored CPU devices, 20 steps on the same global batches. A number is max|Δw| / max|w| against one device.

Keras clips, checks for overflow and accumulates on the gradient of one replica, before replicas are summed. The
wrappers of `kt.optimizers` sum once and then see the gradient of the whole batch. Batch statistics are per replica in
both unless `sync_bn=True`.

Rounding differs between one sum and a sum of sums. After 20 steps of a small smooth network it stays near 1e-7; a ReLU
network with batch normalization amplifies it, as it amplifies any other rounding: on one device, Keras' composed batch
normalization instead of TensorFlow's fused kernel moves some weights of `quickstart` (without zero gamma) by 1.6 % of
the largest in their tensor in the first step already. Long runs of such networks agree in accuracy across numbers of
replicas, not in bits.

| what | 2 replicas | 4 replicas |
|---|---|---|
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path)
    output = parser.parse_args().output

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
    text = PREFACE.format(keras=keras.__version__, tensorflow=tf.__version__) + "\n".join(lines) + "\n"
    if output:
        output.write_text(text)


if __name__ == "__main__":
    main()
