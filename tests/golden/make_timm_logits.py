"""Makes timm_logits.json: logits of timm's networks for weights drawn by name.

Versions  timm 1.0.31, torch 2.13.0 (CPU), Python 3.11
Run       python tests/golden/make_timm_logits.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

The weights are not stored: each tensor is drawn from a generator seeded with the CRC-32 of its name in timm, see
`tensor`. The test draws the same numbers and puts them into the Keras model. numpy's RandomState never changes.
Skip gains and the gains of the last convolution of a branch, zero in a fresh network, are drawn like all others, so
that every branch counts.
"""

import json
import math
import pathlib
import platform
import zlib

import numpy as np
import torch

try:
    # declares torchvision's compiled operators on a machine without CUDA
    import tv_shim  # noqa: F401
except ImportError:
    pass
import timm

NAMES = {  # name: image size
    "dm_nfnet_f0": 192, "nfnet_f0": 192, "nf_resnet50": 224, "resnetrs50": 160, "resnetrs101": 160, "resnet18": 224,
    "resnet50": 224, "resnet50c": 224, "resnet50d": 224, "inception_resnet_v2": 299, "tf_efficientnet_b0": 224,
    "tf_efficientnet_b1": 192, "seresnext50_32x4d": 160,
}
EVERY = 40  # of the 1000 logits, one in so many is kept


def tensor(name, shape):
    """Normal kernels of variance 1 / fan-in; gains, norms and variances around 1; small biases and means."""
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shape) > 1 and not name.endswith("gain"):
        return (numbers.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype("float32")
    low, high = (-0.1, 0.1) if name.endswith(("bias", "running_mean")) else (0.5, 1.5)
    return np.asarray(numbers.uniform(low, high, shape), "float32")


def describe(name, size):
    model = timm.create_model(name).eval()
    shapes = {key: tuple(old.shape) for key, old in model.state_dict().items() if "num_batches" not in key}
    drawn = {key: torch.from_numpy(tensor(key, shape)) for key, shape in shapes.items()}
    model.load_state_dict(drawn, strict=False)
    image = np.random.RandomState(0).normal(size=(1, size, size, 3)).astype("float32")
    with torch.no_grad():
        logits = model(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
    return {
        "image_size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tensors": shapes,
        "every": EVERY,
        "logits": [float(f"{x:.7g}") for x in logits[0, ::EVERY].tolist()],
    }


def main():
    versions = {"timm": timm.__version__, "torch": torch.__version__, "numpy": np.__version__,
                "python": platform.python_version()}
    content = {
        "made_by": {"command": "python tests/golden/make_timm_logits.py", "versions": versions},
        "models": {name: describe(name, size) for name, size in NAMES.items()},
    }
    path = pathlib.Path(__file__).with_name("timm_logits.json")
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
