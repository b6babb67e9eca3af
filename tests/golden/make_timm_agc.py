"""Makes timm_agc.json: gradients clipped by timm.utils.agc, in Keras' layout.

Versions  timm 1.0.31, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11
Run       python tests/golden/make_timm_agc.py
          from the repository root, in any environment that has
          torch==2.13.0 timm==1.0.31

timm clips one unit (an output channel) at a time along torch's first axis; a
vector or scalar is one unit. The file holds arrays as Keras keeps them:
convolution (height, width, inputs of a group, outputs), depthwise (height,
width, inputs, multiplier), Dense (inputs, outputs). The gradient's norm grows
from unit to unit, so that both clip factors clip some units of each matrix
or convolution and leave others alone; the one unit of a vector or scalar is
clipped at 0.01 only.
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
from timm.utils.agc import adaptive_clip_grad

CLIP_FACTORS = (0.01, 0.1)
EPSILON = 1e-3
TENSORS = {  # name: torch shape, Keras layout
    "conv": ((5, 3, 3, 3), "conv"),
    "depthwise": ((6, 1, 3, 3), "depthwise"),
    "depthwise_multiplier_2": ((6, 1, 3, 3), "depthwise_2"),
    "grouped_conv": ((8, 4, 3, 3), "conv"),
    "dense": ((7, 10), "dense"),
    "bias": ((5,), "vector"),
    "scalar": ((), "vector"),
    "zero_conv": ((5, 3, 3, 3), "conv"),  # weights 0: epsilon sets the limit
}


def to_keras(array, layout):
    """Moves torch's axes to where Keras has them."""
    if layout == "conv":
        return array.transpose(2, 3, 1, 0)
    if layout.startswith("depthwise"):
        # torch keeps the outputs that share one input next to each other
        multiplier = 2 if layout == "depthwise_2" else 1
        return array.transpose(2, 3, 0, 1).reshape(
            *array.shape[2:], -1, multiplier
        )
    return array.T


def make(rng, name, shape):
    """A weight, a gradient and the number of units, in torch's layout."""
    units = shape[0] if len(shape) > 1 else 1
    weight = rng.normal(scale=0.3, size=(units, int(np.prod(shape)) // units))
    if name == "zero_conv":
        weight *= 0.0
    gradient = rng.normal(size=weight.shape)
    ratio = np.geomspace(2e-3, 1.5, units) if units > 1 else np.full(1, 0.03)
    if name == "dense":
        ratio[0] = 0.0  # a unit without gradient stays without
    limit = np.maximum(np.linalg.norm(weight, axis=1), EPSILON)
    gradient *= (ratio * limit / np.linalg.norm(gradient, axis=1))[:, None]
    return (
        weight.astype("float32").reshape(shape),
        gradient.astype("float32").reshape(shape),
        units,
    )


def clip(weight, gradient, clip_factor):
    parameter = torch.nn.Parameter(torch.tensor(weight))
    parameter.grad = torch.tensor(gradient)
    adaptive_clip_grad([parameter], clip_factor, EPSILON, norm_type=2.0)
    return parameter.grad.numpy()


def main():
    rng = np.random.default_rng(20210211)
    tensors = []
    for name, (shape, layout) in TENSORS.items():
        weight, gradient, units = make(rng, name, shape)
        clipped = {c: clip(weight, gradient, c) for c in CLIP_FACTORS}
        tensors.append(
            {
                "name": name,
                "units": units,
                "clipped_units": {
                    c: int((g != gradient).reshape(units, -1).any(1).sum())
                    for c, g in clipped.items()
                },
                "weight": to_keras(weight, layout).tolist(),
                "gradient": to_keras(gradient, layout).tolist(),
                "clipped": {
                    c: to_keras(g, layout).tolist() for c, g in clipped.items()
                },
            }
        )
    content = {
        "made_by": {
            "command": "python tests/golden/make_timm_agc.py",
            "versions": {
                "timm": timm.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "epsilon": EPSILON,
        "clip_factors": CLIP_FACTORS,
        "tensors": tensors,
    }
    path = pathlib.Path(__file__).with_name("timm_agc.json")
    path.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
