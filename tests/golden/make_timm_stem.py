"""Makes timm_stem.json: a first convolution adapted to other channels by timm's adapt_input_conv, in Keras' layout.

Versions  timm 1.0.31, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_timm_stem.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31
"""

import json
import pathlib
import platform

import numpy as np
import torch

try:
    # declares torchvision's compiled operators on a machine without CUDA
    import tv_shim  # noqa: F401
except ImportError:
    pass
import timm
from timm.models import adapt_input_conv

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 9)


def main():
    kernel = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype("float32"))
    keras_layout = lambda tensor: tensor.permute(2, 3, 1, 0).numpy().astype(float).tolist()  # noqa: E731
    golden = {
        "versions": {"timm": timm.__version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "kernel": keras_layout(kernel),
        "adapted": {channels: keras_layout(adapt_input_conv(channels, kernel.clone())) for channels in CHANNELS},
    }
    pathlib.Path("tests/golden/timm_stem.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
