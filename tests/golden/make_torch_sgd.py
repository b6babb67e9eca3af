"""Makes torch_sgd.json: 50 steps of torch.optim.SGD on fixed gradients.

Versions  torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_torch_sgd.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31 (this script uses torch only)

Gradients are data, not functions of the weights, and the learning rate is
another one at every step, so the file tells an optimizer that multiplies by
the rate after the momentum from one that keeps the rate inside the velocity.
Everything is float32, printed with every digit.
"""

import json
import pathlib
import platform

import numpy as np
import torch

STEPS, WARMUP, DROP = 50, 10, 30
STORED = (1, 10, 30, 31, 50)  # number of updates done; the drop is in the 31st
SHAPES = ((3, 4), (4,))
CASES = [  # momentum, nesterov, weight decay
    (momentum, nesterov, weight_decay)
    for momentum, nesterov in ((0.9, True), (0.9, False), (0.0, False))
    for weight_decay in (0.0, 5e-3)
]


def learning_rate(step):
    """Linear warmup to 0.1, then 1% less each step, and a tenth from DROP."""
    if step < WARMUP:
        return 0.1 * (step + 1) / WARMUP
    return 0.1 * 0.99 ** (step - WARMUP) * (0.1 if step >= DROP else 1.0)


def run(start, gradients, rates, momentum, nesterov, weight_decay):
    """Weights after each number of updates in STORED."""
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in start]
    optimizer = torch.optim.SGD(
        weights,
        lr=rates[0],
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    stored = {}
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(gradient[step])
        optimizer.step()
        if step + 1 in STORED:
            stored[step + 1] = [weight.tolist() for weight in weights]
    return stored


def main():
    rng = np.random.default_rng(20180612)
    start = [rng.normal(size=s).astype("float32") for s in SHAPES]
    gradients = [rng.normal(size=(STEPS, *s)).astype("float32") for s in SHAPES]
    rates = [learning_rate(step) for step in range(STEPS)]
    content = {
        "made_by": {
            "command": "python tests/golden/make_torch_sgd.py",
            "versions": {
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "learning_rate": rates,
        "start": [w.tolist() for w in start],
        "gradients": [g.tolist() for g in gradients],
        "cases": [
            {
                "momentum": case[0],
                "nesterov": case[1],
                "weight_decay": case[2],
                "weights_after": run(start, gradients, rates, *case),
            }
            for case in CASES
        ],
    }
    path = pathlib.Path(__file__).with_name("torch_sgd.json")
    path.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
