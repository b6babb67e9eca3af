"""Makes torch_schedule.json: the learning rate at every step of 120 epochs.

Versions  torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_torch_schedule.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31 (this script uses torch only)

The stored rates are closed formulas in float64; torch.optim.lr_scheduler must
agree with every one of them (to 1e-12 of the peak) or nothing is written.
Peak eta = 0.1 * batch / 256. The first m steps (5 epochs) have i * eta / m,
i = 1 ... m, and then either
cosine  eta / 2 * (1 + cos(pi * t / T)), T the number of steps without warmup,
        t = 0 at the first step after it (so 0 is never reached), or
step    eta, a tenth from each of the epochs 30, 60, 90, counted from the
        start of training.
"""

import json
import pathlib
import platform

import numpy as np
import torch
from torch.optim import lr_scheduler

EPOCHS, STEPS_PER_EPOCH, WARMUP_EPOCHS = 120, 10, 5
MILESTONES = (30, 60, 90)
STEPS, WARMUP = EPOCHS * STEPS_PER_EPOCH, WARMUP_EPOCHS * STEPS_PER_EPOCH


def formula(decay, eta):
    """Rates of all steps, from the formula."""
    step = np.arange(STEPS)
    if decay == "cosine":
        t = step - WARMUP
        after = eta / 2 * (1 + np.cos(np.pi * t / (STEPS - WARMUP)))
    else:
        drops = np.digitize(step // STEPS_PER_EPOCH, MILESTONES)
        after = eta / 10.0**drops
    return np.where(step < WARMUP, (step + 1) * eta / WARMUP, after)


def torch_rates(decay, eta):
    """The same rates from torch's schedulers, stepped once per update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], eta)
    warmup = lr_scheduler.LinearLR(optimizer, 1 / WARMUP, 1.0, WARMUP - 1)
    if decay == "cosine":
        after = lr_scheduler.CosineAnnealingLR(optimizer, STEPS - WARMUP)
    else:
        at = [epoch * STEPS_PER_EPOCH - WARMUP for epoch in MILESTONES]
        after = lr_scheduler.MultiStepLR(optimizer, at, gamma=0.1)
    both = lr_scheduler.SequentialLR(optimizer, [warmup, after], [WARMUP])
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    return np.array(rates)


def main():
    schedules = []
    for decay in ("cosine", "step"):
        for batch_size in (256, 1024):
            eta = 0.1 * batch_size / 256
            rates = formula(decay, eta)
            worst = np.abs(rates - torch_rates(decay, eta)).max() / eta
            if worst > 1e-12:
                raise ValueError(f"{decay}: torch differs by {worst} of eta")
            schedules.append(
                {
                    "decay": decay,
                    "batch_size": batch_size,
                    "peak": eta,
                    "learning_rate": rates.tolist(),
                }
            )
    content = {
        "made_by": {
            "command": "python tests/golden/make_torch_schedule.py",
            "versions": {
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "epochs": EPOCHS,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "warmup_epochs": WARMUP_EPOCHS,
        "milestone_epochs": MILESTONES,
        "schedules": schedules,
    }
    path = pathlib.Path(__file__).with_name("torch_schedule.json")
    path.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
