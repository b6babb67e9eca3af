"""Makes timm_inception_resnet.json: size, cost and outputs of timm's network.

Versions  timm 1.0.31, torch 2.13.0 (CPU), Python 3.11
Run       python tests/golden/make_timm_inception_resnet.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

One MAC is one multiplication with a Conv2d or Linear weight; biases, batch
norm, pooling and activations count nothing.

The weights are not stored: each tensor is drawn from a generator seeded with
the CRC-32 of its name in timm, see `tensor`. The test draws the same numbers
and puts them into the Keras model. numpy's RandomState never changes.
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

NAME = "inception_resnet_v2"
IMAGE_SIZE = 299
EVERY = 40  # of the 1000 logits, one in so many is kept


def tensor(name, shape):
    """Uniform numbers: He for kernels, so that no activation runs away."""
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shape) > 1:  # a convolution or dense weight, outputs first
        low, high = np.array([-1, 1]) * math.sqrt(6 / math.prod(shape[1:]))
    elif name.endswith(("running_var", "bn.weight")):
        low, high = 0.5, 1.5
    else:
        low, high = -0.2, 0.2
    return numbers.uniform(low, high, shape).astype("float32")


def count_macs(model, images):
    """Multiply-accumulates of every Conv2d and Linear in one forward pass."""
    macs = []

    def count(module, inputs, output):
        # a weight is (outputs, inputs of one output...): one MAC each
        macs.append(output.numel() * math.prod(module.weight.shape[1:]))

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    return model(images), sum(macs)


def main():
    model = timm.create_model(NAME).eval()
    state = {
        name: torch.from_numpy(tensor(name, tuple(old.shape)))
        for name, old in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    model.load_state_dict(state, strict=False)
    shape = (1, IMAGE_SIZE, IMAGE_SIZE, 3)
    image = np.random.RandomState(0).uniform(-1, 1, shape).astype("float32")
    images = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        logits, macs = count_macs(model, images)
    content = {
        "made_by": {
            "command": "python tests/golden/make_timm_inception_resnet.py",
            "versions": {
                "timm": timm.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "image_size": IMAGE_SIZE,
        "parameters": sum(p.numel() for p in model.parameters()),
        "batch_norm_statistics": sum(
            b.numel()
            for key, b in model.named_buffers()
            if key.endswith(("running_mean", "running_var"))
        ),
        "macs": macs,
        "every": EVERY,
        "logits": [float(f"{x:.7g}") for x in logits[0, ::EVERY].tolist()],
    }
    path = pathlib.Path(__file__).with_name("timm_inception_resnet.json")
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
