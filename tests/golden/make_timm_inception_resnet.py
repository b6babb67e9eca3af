"""Makes timm_inception_resnet.json: size and cost of timm's network.

Versions  timm 1.0.31, torch 2.13.0 (CPU), Python 3.11
Run       python tests/golden/make_timm_inception_resnet.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

One MAC is one multiplication with a Conv2d or Linear weight; biases, batch
norm, pooling and activations count nothing.
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

NAME = "inception_resnet_v2"
IMAGE_SIZE = 299


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


def main():
    model = timm.create_model(NAME).eval()
    with torch.no_grad():
        macs = count_macs(model, torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    content = {
        "made_by": {
            "command": "python tests/golden/make_timm_inception_resnet.py",
            "versions": {
                "timm": timm.__version__,
                "torch": torch.__version__,
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
    }
    path = pathlib.Path(__file__).with_name("timm_inception_resnet.json")
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
