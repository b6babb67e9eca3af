"""Makes pil_image_ops.json and image_crops.json: RandAugment's operations by Pillow and timm, on small images.

Versions  Pillow 13.0.0, timm 1.0.31, scikit-learn 1.9.1, numpy 2.4.6, Python 3.11
Run       python tests/golden/make_pil_image_ops.py
          from the repository root, in any environment that has
          pillow==13.0.0 torch==2.13.0 timm==1.0.31 scikit-learn==1.9.1

image_crops.json holds the input, PNG in base64: four windows of scikit-learn's two sample photographs, one of them
again with little contrast, an image of a single colour, and that with a small square of another, too small for Equalize
to change anything. All are 64 pixels high and 48 wide.

pil_image_ops.json holds one case per operation, parameters and crop: the SHA-256 of the output's uint8 bytes (height,
width, channel), every 7th pixel of the output (base64 of zlib of uint8), and for the last case of each operation and
resampling the whole output (PNG in base64). Operations go through timm.data.auto_augment, which calls Pillow; Cutout,
which timm leaves out, pastes a box. Signs, order and meaning of the parameters are those of timm and of TensorFlow's
AutoAugment alike: a positive angle turns counterclockwise, a positive shift moves the content left or up. Colour 128
fills what lies outside. `level_to_argument` has what timm makes of a magnitude, with its random sign always positive;
its RandAugment first clamps the magnitude to 10 unless `mmax` says otherwise.
"""

import base64
import hashlib
import io
import json
import pathlib
import platform
import zlib

import numpy as np
import PIL
import sklearn
from PIL import Image
from sklearn.datasets import load_sample_images

try:
    # declares torchvision's compiled operators on a machine without CUDA
    import tv_shim  # noqa: F401
except ImportError:
    pass
import timm
from timm.data import auto_augment

HEIGHT, WIDTH, STEP, FILL = 64, 48, 7, (128, 128, 128)
WINDOWS = [  # photograph, top, left
    ("china.jpg", 30, 175),
    ("china.jpg", 195, 535),
    ("flower.jpg", 180, 282),
    ("flower.jpg", 110, 158),
]
COLOUR, SQUARE = (90, 140, 201), (70, 100, 0)
ATTRIBUTION = (
    "china.jpg and flower.jpg come with scikit-learn (sklearn/datasets/images, see README.txt there): Creative Commons "
    "Attribution 2.0, https://creativecommons.org/licenses/by/2.0/, photographs by danielbuechele "
    "(https://www.flickr.com/photos/danielbuechele/6061409035/) and vultilion "
    "(https://www.flickr.com/photos/vultilion/6056698931/); cut, and one cut reduced in contrast."
)
RESAMPLE = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
LEVELS = [0, 1, 2.5, 5, 7, 9, 10, 15, 20]
TRANSLATE = 100  # pixels at magnitude 10, as in TensorFlow's RandAugment; timm takes 0.45 of the image's side


def crops():
    samples = load_sample_images()
    photographs = dict(zip((pathlib.Path(name).name for name in samples.filenames), samples.images, strict=True))
    images = [photographs[name][top : top + HEIGHT, left : left + WIDTH] for name, top, left in WINDOWS]
    sources = [f"{name}, rows from {top}, columns from {left}" for name, top, left in WINDOWS]
    images.append(images[0] // 4 + 90)
    sources.append("crop 0, divided by 4 without remainder, plus 90")
    images.append(np.full((HEIGHT, WIDTH, 3), COLOUR, "uint8"))
    sources.append("one colour")
    images.append(images[-1].copy())
    images[-1][20:30, 8:18] = SQUARE
    sources.append("crop 5 with a darker square of 10 by 10")
    return images, sources


def cases():
    """Operation, crop, parameters."""
    for op in ("AutoContrast", "Equalize"):
        for crop in (0, 1, 2, 3, 4, 5, 6):
            yield op, crop, {}
    for crop in (0, 4):
        yield "Invert", crop, {}
    for crop, bits in ((0, 1), (1, 2), (2, 3), (3, 4), (0, 6)):
        yield "Posterize", crop, {"bits": bits}
    for crop, threshold in ((0, 0), (1, 64), (4, 128), (2, 128), (3, 200), (0, 255), (1, 256)):
        yield "Solarize", crop, {"threshold": threshold}
    for crop, addition in ((0, 0), (1, 11), (2, 55), (3, 110), (0, 165)):
        yield "SolarizeAdd", crop, {"addition": addition}
    for op in ("Color", "Contrast", "Brightness", "Sharpness"):
        for crop, factor in (
            (0, 0.0), (0, 0.1), (1, 0.5), (2, 1.0), (3, 1.4), (1, 1.9),
            (2, 2.8), (4, 0.5), (4, 1.9), (5, 1.4), (6, 1.4), (0, 1.9),
        ):
            yield op, crop, {"factor": factor}
    for resample in RESAMPLE:
        for crop, degrees in ((0, 3.0), (1, -10.5), (2, 15.0), (3, -30.0), (0, 45.0), (2, 30.0)):
            yield "Rotate", crop, {"degrees": degrees, "resample": resample}
        for op in ("ShearX", "ShearY"):
            for crop, level in ((0, 0.03), (1, -0.15), (2, 0.3), (3, -0.3), (2, 0.45)):
                yield op, crop, {"level": level, "resample": resample}
        for op in ("TranslateX", "TranslateY"):
            for crop, pixels in ((0, 1.0), (1, -10.0), (2, 0.5), (0, 100.0), (3, -7.75), (2, 12.25)):
                yield op, crop, {"pixels": pixels, "resample": resample}
    for crop, pad, row, column in (
        (0, 8, 32, 24), (1, 12, 0, 0), (2, 12, 63, 47), (3, 40, 10, 40), (0, 0, 5, 5), (2, 5, 2, 30)
    ):
        yield "Cutout", crop, {"pad": pad, "row": row, "column": column}


def cutout(image, pad, row, column):
    """Fills rows [row - pad, row + pad) and columns [column - pad, column + pad)."""
    box = (max(column - pad, 0), max(row - pad, 0), min(column + pad, image.width), min(row + pad, image.height))
    image = image.copy()
    image.paste(FILL, box)
    return image


def apply(op, image, parameters):
    if op == "Cutout":
        return cutout(image, **parameters)
    parameters = dict(parameters)
    kwargs = {"fillcolor": FILL}
    if "resample" in parameters:
        kwargs["resample"] = RESAMPLE[parameters.pop("resample")]
    return auto_augment.NAME_TO_OP[op](image, *parameters.values(), **kwargs)


def base64_png(image):
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def digest(array):
    assert array.dtype == np.uint8
    return hashlib.sha256(array.tobytes()).hexdigest()


def sample(array):
    return base64.b64encode(zlib.compress(array.reshape(-1, 3)[::STEP].tobytes(), 9)).decode()


def level_to_argument():
    """What each operation's only argument is at each of LEVELS."""
    negate, auto_augment._randomly_negate = auto_augment._randomly_negate, lambda value: value
    hparams = {"translate_const": TRANSLATE}
    table = {
        name: [function(level, hparams)[0] for level in LEVELS]
        for name, function in auto_augment.LEVEL_TO_ARG.items()
        if function and not name.startswith(("Desaturate", "GaussianBlur"))
    }
    auto_augment._randomly_negate = negate
    return {"levels": LEVELS, "translate_const": TRANSLATE, "arguments": table}


def main():
    folder = pathlib.Path(__file__).parent
    made_by = {
        "command": "python tests/golden/make_pil_image_ops.py",
        "versions": {
            "pillow": PIL.__version__,
            "timm": timm.__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    images, sources = crops()
    content = {
        "made_by": made_by,
        "attribution": ATTRIBUTION,
        "crops": [
            {"source": source, "sha256": digest(image), "png": base64_png(Image.fromarray(image))}
            for image, source in zip(images, sources, strict=True)
        ],
    }
    (folder / "image_crops.json").write_text(json.dumps(content, indent=1) + "\n")

    last = {(op, parameters.get("resample")): index for index, (op, _, parameters) in enumerate(cases())}
    stored = []
    for index, (op, crop, parameters) in enumerate(cases()):
        output = apply(op, Image.fromarray(images[crop]), parameters)
        array = np.asarray(output)
        case = {"op": op, "crop": crop, "parameters": parameters, "sha256": digest(array), "sample": sample(array)}
        if index in last.values():
            case["png"] = base64_png(output)
        stored.append(case)
    content = {
        "made_by": made_by,
        "fill": FILL,
        "sample_step": STEP,
        "level_to_argument": level_to_argument(),
        "cases": stored,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items() if key != "cases"]
    lines.append('"cases": [\n' + ",\n".join(json.dumps(case) for case in stored) + "\n]")
    (folder / "pil_image_ops.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
