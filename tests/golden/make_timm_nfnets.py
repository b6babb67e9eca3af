"""Makes timm_nfnets.json: logits of timm's normalizer-free networks for weights drawn by name.

Versions  timm 1.0.31, torch 2.13.0 (CPU), Python 3.11
Run       python tests/golden/make_timm_nfnets.py
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

NAMES = {"dm_nfnet_f0": 192, "nfnet_f0": 192, "nf_resnet50": 224}  # name: image size
EVERY = 40  # of the 1000 logits, one in so many is kept


def tensor(name, shape):
    """Normal kernels of variance 1 / fan-in, gains around 1, small biases."""
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("gain"):
        return numbers.uniform(0.5, 1.5, shape).astype("float32")
    if name.endswith("bias"):
        return numbers.uniform(-0.1, 0.1, shape).astype("float32")
    return (numbers.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype("float32")


def describe(name, size):
    model = timm.create_model(name).eval()
    shapes = {key: tuple(old.shape) for key, old in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(np.asarray(tensor(key, shape))) for key, shape in shapes.items()})
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
                "python": platform.python_version()}  # fmt: skip
    content = {
        "made_by": {"command": "python tests/golden/make_timm_nfnets.py", "versions": versions},
        "models": {name: describe(name, size) for name, size in NAMES.items()},
    }
    path = pathlib.Path(__file__).with_name("timm_nfnets.json")
    path.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
