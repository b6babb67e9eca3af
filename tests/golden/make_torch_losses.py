"""Makes torch_losses.json: label smoothing and distillation values.

Versions  torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_torch_losses.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31 (this script uses torch only)

Logits are float32 numbers, arithmetic is float64.
smoothing, eps/K      torch's own: target 1 - eps + eps/K, others eps/K
smoothing, eps/(K-1)  the "Bag of Tricks" paper (arXiv:1812.01187): target
                      1 - eps, others eps/(K-1); numpy, from the formula
distillation          p label, z student, r teacher (same paper):
                      CE(p, softmax(z)) + T^2 CE(softmax(r/T), softmax(z/T))
distillation, halves  gluon-cv with hard_weight 0.5: half of each term above
"""

import json
import pathlib
import platform

import numpy as np
import torch
from torch.nn.functional import cross_entropy

SAMPLES, CLASSES = 6, 7
SMOOTHING, TEMPERATURE = 0.1, 20.0


def paper_smoothing(logits, labels):
    """Cross-entropy per sample against 1 - eps and eps / (K - 1)."""
    target = np.full(logits.shape, SMOOTHING / (CLASSES - 1))
    target[np.arange(SAMPLES), labels] = 1 - SMOOTHING
    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, keepdims=True)
    return -(target * (logits - top - np.log(total))).sum(axis=1)


def values(per_sample):
    return {
        "per_sample": per_sample.tolist(),
        "mean": float(per_sample.mean()),
    }


def main():
    rng = np.random.default_rng(20181204)
    student, teacher = (
        rng.normal(scale=3.0, size=(SAMPLES, CLASSES)).astype("float32")
        for _ in range(2)
    )
    labels = rng.integers(CLASSES, size=SAMPLES)
    z = torch.tensor(student, dtype=torch.float64)
    r = torch.tensor(teacher, dtype=torch.float64)
    p = torch.tensor(labels)

    smoothed = cross_entropy(z, p, reduction="none", label_smoothing=SMOOTHING)
    hard = cross_entropy(z, p, reduction="none")
    soft = TEMPERATURE**2 * cross_entropy(
        z / TEMPERATURE, (r / TEMPERATURE).softmax(dim=1), reduction="none"
    )
    content = {
        "made_by": {
            "command": "python tests/golden/make_torch_losses.py",
            "versions": {
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "student": student.tolist(),
        "teacher": teacher.tolist(),
        "labels": labels.tolist(),
        "label_smoothing": {
            "epsilon": SMOOTHING,
            "eps/K": values(smoothed),
            "eps/(K-1)": values(
                paper_smoothing(student.astype("float64"), labels)
            ),
        },
        "distillation": {
            "temperature": TEMPERATURE,
            "hard": values(hard),
            "soft": values(soft),  # T^2 included
            "paper": values(hard + soft),
            "gluon_cv": values(0.5 * hard + 0.5 * soft),
        },
    }
    path = pathlib.Path(__file__).with_name("torch_losses.json")
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
