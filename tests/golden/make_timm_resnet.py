"""Makes timm_resnet.json: size, cost and feature shapes of timm's ResNets.

Versions  timm 1.0.31, torch 2.13.0 (CPU), Python 3.11
Run       python tests/golden/make_timm_resnet.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

One MAC is one multiplication with a Conv2d or Linear weight; biases, batch
norm, pooling and activations count nothing. Models are built on torch's
"meta" device: shapes without numbers, so the script takes seconds. timm's
plain "resnet50" has the stride on the 3x3 convolution (layout B of the "Bag
of Tricks" paper); timm has no layout A.
"""

import json
import math
import pathlib
import platform

import torch

try:
    # declares torchvision's compiled operators on a machine without CUDA
    import tv_shim  # noqa: F401
except ImportError:
    pass
import timm

IMAGE_SIZE = 224
NAMES = [
    f"resnet{depth}{letter}"
    for depth in (18, 26, 34, 50, 101, 152, 200)
    for letter in ("", "c", "d")
]


def count_macs(model, images):
    """Multiply-accumulates of every Conv2d and Linear in one forward pass."""
    macs = []

    def count(module, inputs, output):
        # a weight is (outputs, inputs of one output...): one MAC each
        macs.append(output.numel() * math.prod(module.weight.shape[1:]))

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    model(images)
    return sum(macs)


def describe(name, images):
    model = timm.create_model(name).eval()
    return {
        "parameters": sum(
            p.numel() for p in model.parameters() if p.requires_grad
        ),
        "batch_norm_statistics": sum(
            b.numel()
            for key, b in model.named_buffers()
            if key.endswith(("running_mean", "running_var"))
        ),
        "macs": count_macs(model, images),
    }


def main():
    known = set(timm.list_models("resnet*"))
    with torch.device("meta"):
        images = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        models = {n: describe(n, images) for n in NAMES if n in known}
        taps = timm.create_model("resnet50d", features_only=True).eval()
        maps = taps(images)
    strides = taps.feature_info.reduction()
    content = {
        "made_by": {
            "command": "python tests/golden/make_timm_resnet.py",
            "versions": {
                "timm": timm.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        },
        "image_size": IMAGE_SIZE,
        "models": models,
        "resnet50d_features": {  # stride: [height, width, channels]
            stride: [*m.shape[2:], m.shape[1]]
            for stride, m in zip(strides, maps, strict=True)
        },
    }
    path = pathlib.Path(__file__).with_name("timm_resnet.json")
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
