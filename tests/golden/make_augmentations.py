"""Makes augmentations.json: operations of torchvision's TrivialAugmentWide and of timm's "increasing" RandAugment, and
boxes of timm's RandomErasing, on small images.

Versions  torch 2.13.0 (CPU), torchvision 0.28.0, timm 1.0.31, numpy 2.4.6, Python 3.11
Run       python tests/golden/make_augmentations.py
          from the repository root, in any environment that has
          torch==2.13.0 torchvision==0.28.0 timm==1.0.31

Input is image_crops.json. A case holds the SHA-256 of the output's uint8 bytes. timm's geometry is set to nearest
neighbour and fills with `fill`; its random sign is given. The numbers that RandomErasing draws are given, in [0, 1):
for each attempt those of area, aspect, top and left.
"""

import base64
import hashlib
import io
import json
import pathlib
import platform
import types

import numpy as np

try:
    # declares torchvision's compiled operators on a machine without CUDA
    import tv_shim  # noqa: F401
except ImportError:
    pass
import PIL
import timm
import torch
import torchvision
from PIL import Image
from timm.data import auto_augment, random_erasing
from torchvision.transforms import autoaugment

FOLDER = pathlib.Path(__file__).parent
FILL = (124, 116, 104)
BINS = (0, 7, 15, 20, 30)
LEVELS = (0.0, 3.3, 7.0, 9.87)
SIGNED = ("Rotate", "ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing", "SharpnessIncreasing", "ShearX",
          "ShearY", "TranslateXRel", "TranslateYRel")


def read_crops():
    crops = json.loads((FOLDER / "image_crops.json").read_text())["crops"]
    return [Image.open(io.BytesIO(base64.b64decode(crop["png"]))).convert("RGB") for crop in crops]


def digest(image):
    return hashlib.sha256(np.array(image).tobytes()).hexdigest()


def trivial(crops):
    space = autoaugment.TrivialAugmentWide()._augmentation_space(31)
    for op, (magnitudes, signed) in space.items():
        for place in BINS if magnitudes.ndim else (0,):
            for sign in (1, -1) if signed else (1,):
                value = sign * float(magnitudes[place]) if magnitudes.ndim else 0.0
                for crop in (0, 1):
                    done = autoaugment._apply_op(crops[crop], op, value, autoaugment.InterpolationMode.NEAREST, None)
                    yield {"op": op, "bin": place, "sign": sign, "crop": crop, "sha256": digest(done)}


def increasing(crops):
    hparams = {"img_mean": FILL, "interpolation": Image.NEAREST}
    for op in auto_augment._RAND_INCREASING_TRANSFORMS:
        for level in LEVELS:
            for sign in (1, -1) if op in SIGNED else (1,):
                auto_augment._randomly_negate = lambda v, sign=sign: sign * v
                for crop in (0, 1):
                    done = auto_augment.AugmentOp(op, 1.0, level, hparams)(crops[crop])
                    yield {"op": op, "level": level, "sign": sign, "crop": crop, "sha256": digest(done)}


def boxes():
    """Of an image of 24 x 40 pixels."""
    rng = np.random.default_rng(20170816)
    for _ in range(40):
        draws = rng.random((4, 10)).astype("float32")
        stream = iter(draws.T.reshape(-1).tolist())
        attempt = []

        def uniform(low, high, stream=stream, attempt=attempt):
            if len(attempt) in (0, 4):  # a new attempt: four numbers of its own
                attempt[:] = [next(stream) for _ in range(4)] + [None]
                return low + (high - low) * attempt[0]
            attempt.pop()
            return low + (high - low) * attempt[1]

        def randint(low, high, attempt=attempt):
            number = attempt[2] if len(attempt) == 4 else attempt[3]
            attempt.append(None)
            return low + int(number * (high - low + 1))

        random_erasing.random = types.SimpleNamespace(random=lambda: 0.0, uniform=uniform, randint=randint)
        image = random_erasing.RandomErasing(1.0, device="cpu")(torch.ones(3, 24, 40))[0].numpy()
        rows, columns = np.nonzero(image == 0)
        assert len(rows)
        box = [int(v) for v in (rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1)]
        yield {"draws": draws.tolist(), "box": box}


def main():
    crops = read_crops()
    versions = {"torchvision": torchvision.__version__, "timm": timm.__version__, "torch": torch.__version__,
                "pillow": PIL.__version__, "numpy": np.__version__, "python": platform.python_version()}
    space = autoaugment.TrivialAugmentWide()._augmentation_space(31)
    content = {
        "made_by": {"command": "python tests/golden/make_augmentations.py", "versions": versions},
        "fill": FILL,
        "trivial_arguments": {op: values.tolist() for op, (values, _) in space.items() if values.ndim},
        "trivial": list(trivial(crops)),
        "increasing": list(increasing(crops)),
        "boxes": list(boxes()),
    }
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            lines.append(f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(case) for case in value) + "\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    (FOLDER / "augmentations.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
