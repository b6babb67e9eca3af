"""Makes timm_bce.json: timm's binary cross entropy on integer and on mixed labels, with and without a threshold.

Versions  timm 1.0.31, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_timm_bce.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

Mixed labels are made by timm's mixup: both labels are smoothed (eps / K, and 1 - eps + eps / K), then mixed with
`share`. Logits are float32 numbers, arithmetic is float64.
"""

import json
import pathlib
import platform

import numpy as np
import timm
import torch
from timm.data.mixup import mixup_target
from timm.loss import BinaryCrossEntropy

SAMPLES, CLASSES, SHARE = 6, 7, 0.7
CASES = [{"label_smoothing": s, "target_threshold": t, "sum_classes": c, "mixed": m}
         for s in (0.0, 0.1) for t in (None, 0.2, 0.5) for c in (False, True) for m in (False, True)]


def main():
    rng = np.random.default_rng(20211001)
    logits = rng.normal(scale=3.0, size=(SAMPLES, CLASSES)).astype("float32")
    labels = rng.integers(CLASSES, size=SAMPLES)
    x, y = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)
    cases = []
    for case in CASES:
        target = y
        if case["mixed"]:
            target = mixup_target(y, CLASSES, SHARE, case["label_smoothing"]).to(torch.float64)
        loss = BinaryCrossEntropy(case["label_smoothing"], case["target_threshold"], sum_classes=case["sum_classes"])
        cases.append(case | {"mean": float(loss(x, target))})
    content = {
        "made_by": {
            "command": "python tests/golden/make_timm_bce.py",
            "versions": {"timm": timm.__version__, "torch": torch.__version__, "numpy": np.__version__,
                         "python": platform.python_version()},
        },
        "logits": logits.tolist(), "labels": labels.tolist(), "share": SHARE, "cases": cases,
    }
    pathlib.Path(__file__).with_name("timm_bce.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
