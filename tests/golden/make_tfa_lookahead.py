"""Makes tfa_lookahead.json: weights after updates of tfa.optimizers.Lookahead around SGD with momentum.

Versions  tensorflow-cpu 2.15.1, tensorflow-addons 0.23.0, numpy 1.26.4, Python 3.11
Run       python tests/golden/make_tfa_lookahead.py
          from the repository root, in any environment that has
          tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0

Gradients and start are float32. The inner optimizer is Keras' legacy SGD with momentum 0.9 and learning rate 0.1, no
weight decay: v <- 0.9 v - 0.1 g, w <- w + v.
"""

import json
import os
import pathlib
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

STEPS, STORED = 50, (1, 5, 6, 7, 12, 49, 50)
SHAPES = [(3, 2), (4,)]
CASES = [(6, 0.5), (5, 0.8), (1, 0.3)]


def run(start, gradients, sync_period, slow_step_size):
    inner = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer = tfa.optimizers.Lookahead(inner, sync_period, slow_step_size)
    weights = [tf.Variable(w) for w in start]
    stored = {}
    for step in range(STEPS):
        optimizer.apply_gradients([(tf.constant(g[step]), w) for g, w in zip(gradients, weights, strict=True)])
        if step + 1 in STORED:
            stored[step + 1] = [w.numpy().tolist() for w in weights]
    return stored


def main():
    rng = np.random.default_rng(20190719)
    start = [rng.normal(size=s).astype("float32") for s in SHAPES]
    gradients = [rng.normal(size=(STEPS, *s)).astype("float32") for s in SHAPES]
    content = {
        "made_by": {
            "command": "python tests/golden/make_tfa_lookahead.py",
            "versions": {"tensorflow-addons": tfa.__version__, "tensorflow": tf.__version__, "numpy": np.__version__,
                         "python": platform.python_version()},
        },
        "start": [w.tolist() for w in start],
        "gradients": [g.tolist() for g in gradients],
        "cases": [{"sync_period": period, "slow_step_size": size,
                   "weights_after": run(start, gradients, period, size)} for period, size in CASES],
    }
    pathlib.Path(__file__).with_name("tfa_lookahead.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
