"""Makes tfa_image_ops.json: RandAugment's operations by TensorFlow Addons and by TensorFlow Model Garden.

Versions  tensorflow-cpu 2.15.1, tensorflow-addons 0.23.0, numpy 1.26.4, Python 3.11, for the key tfa
          tensorflow 2.21.0, tf-models-official 2.20.0, numpy 2.4.6, Python 3.11, for model_garden and tpu_contrast
Run       python tests/golden/make_tfa_image_ops.py
          from the repository root, after make_pil_image_ops.py, once in an environment that has
          tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0
          and once in one that has
          tensorflow==2.21.0 tf-models-official==2.20.0
          Each run writes the keys it can and leaves the others as they are.

Input is image_crops.json; the cases are those of pil_image_ops.json with the same parameters (see there), as far as the
package has the operation, and the few of EXTRA. A case holds the SHA-256 of the output's uint8 bytes and, where that is
not Pillow's for the same case, every 7th pixel of the output (base64 of zlib of uint8).

tfa            rotate, translate and transform with fill_mode "constant" and fill_value 128, in both interpolations;
               shear_x and shear_y as they are (nearest; bilinear goes through transform); equalize; sharpness; cutout.
               With "nearest" that is what the RandAugment of tensorflow/tpu and of DeepMind's NFNets does.
model_garden   official.vision.ops.augment. Its geometric operations reflect the image at its borders and leave 128 out.
tpu_contrast   Contrast as in those two repositories, neither of which can be installed: Model Garden's blend with the
               constant grey they blend with, floor(min(pixels / 256, 255)), which is no mean of the image.
"""

import base64
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

try:
    import tensorflow_addons as tfa
except ImportError:
    tfa = None
try:
    from official.vision.ops import augment
except ImportError:
    augment = None

FOLDER = pathlib.Path(__file__).parent
FILL = 128
LEVELS = [0.0, 1.0, 2.5, 5.0, 7.0, 9.0, 10.0, 15.0, 20.0]
EXTRA = [  # arguments that Pillow refuses or treats otherwise
    {"op": "Posterize", "crop": 0, "parameters": {"bits": 0}},
    {"op": "Posterize", "crop": 1, "parameters": {"bits": 8}},
    {"op": "Solarize", "crop": 1, "parameters": {"threshold": 384}},
]


def read_crops():
    crops = json.loads((FOLDER / "image_crops.json").read_text())["crops"]
    images = [tf.io.decode_png(base64.b64decode(crop["png"])) for crop in crops]
    for image, crop in zip(images, crops, strict=True):
        assert digest(image.numpy()) == crop["sha256"]
    return images


def digest(array):
    assert array.dtype == np.uint8
    return hashlib.sha256(array.tobytes()).hexdigest()


def by_tfa(op, image, p):
    fill = {"interpolation": p.get("resample"), "fill_mode": "constant", "fill_value": float(FILL)}
    if op == "Rotate":
        return tfa.image.rotate(image, tf.constant(p["degrees"]) * (math.pi / 180.0), **fill)
    if op in ("ShearX", "ShearY") and p["resample"] == "nearest":
        return {"ShearX": tfa.image.shear_x, "ShearY": tfa.image.shear_y}[op](image, p["level"], [FILL] * 3)
    if op == "ShearX":
        return tfa.image.transform(image, [1.0, p["level"], 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], **fill)
    if op == "ShearY":
        return tfa.image.transform(image, [1.0, 0.0, 0.0, p["level"], 1.0, 0.0, 0.0, 0.0], **fill)
    if op == "TranslateX":
        return tfa.image.translate(image, [-p["pixels"], 0.0], **fill)
    if op == "TranslateY":
        return tfa.image.translate(image, [0.0, -p["pixels"]], **fill)
    if op == "Equalize":
        return tfa.image.equalize(image)
    if op == "Sharpness":
        return tfa.image.sharpness(image, p["factor"])
    if op == "Cutout":
        return tfa.image.cutout(image[None], 2 * p["pad"], (p["row"], p["column"]), FILL)[0]
    return None


def by_model_garden(op, image, p):
    replace = [FILL] * 3
    if op == "Cutout":  # what augment.cutout does once it has drawn the centre
        return augment._fill_rectangle(image, p["column"], p["row"], p["pad"], p["pad"], replace)
    if p.get("resample") == "bilinear":
        return None
    arguments = [value for key, value in p.items() if key != "resample"]
    if op in augment.REPLACE_FUNCS:
        arguments.append(replace)
    return augment.NAME_TO_FUNC[op](image, *arguments)


def tpu_contrast(op, image, p):
    if op != "Contrast":
        return None
    grey = int(min(image.shape[0] * image.shape[1] / 256, 255))
    return augment.blend(tf.fill(image.shape, tf.constant(grey, tf.uint8)), image, p["factor"])


def run(function, images, reference):
    stored = []
    for case in reference["cases"] + EXTRA:
        output = function(case["op"], images[case["crop"]], case["parameters"])
        if output is None:
            continue
        output = np.asarray(output)
        entry = {key: case[key] for key in ("op", "crop", "parameters")} | {"sha256": digest(output)}
        if entry["sha256"] != case.get("sha256"):
            pixels = output.reshape(-1, 3)[:: reference["sample_step"]]
            entry["sample"] = base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()
        stored.append(entry)
    return stored


def model_garden_levels():
    """What each operation's only argument is at each of LEVELS, with its random sign always positive."""
    negate, augment._randomly_negate_tensor = augment._randomly_negate_tensor, lambda value: value
    table = {
        name: [function(level)[0] for level in LEVELS]
        for name, function in augment.level_to_arg(cutout_const=40.0, translate_const=100.0).items()
        if name in augment.RandAugment().available_ops and function(1.0)
    }
    augment._randomly_negate_tensor = negate
    return {"levels": LEVELS, "cutout_const": 40, "translate_const": 100, "arguments": table}


def write(content):
    parts = []
    for key, value in content.items():
        if key == "made_by":
            parts.append(f"{json.dumps(key)}: {json.dumps(value, indent=1)}")
            continue
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items() if k != "cases"]
        lines.append('"cases": [\n' + ",\n".join(json.dumps(case) for case in value["cases"]) + "\n]")
        parts.append(f"{json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n}")
    (FOLDER / "tfa_image_ops.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main():
    path = FOLDER / "tfa_image_ops.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    reference = json.loads((FOLDER / "pil_image_ops.json").read_text())
    images = read_crops()
    versions = {"tensorflow": tf.__version__, "numpy": np.__version__, "python": platform.python_version()}
    new, new_versions = {}, {}
    if tfa:
        new["tfa"] = {"cases": run(by_tfa, images, reference)}
        new_versions["tfa"] = {"tensorflow-addons": tfa.__version__} | versions
    if augment:
        cases = run(by_model_garden, images, reference)
        new["model_garden"] = {"level_to_argument": model_garden_levels(), "cases": cases}
        new["tpu_contrast"] = {"cases": run(tpu_contrast, images, reference)}
        garden = {"tf-models-official": importlib.metadata.version("tf-models-official")} | versions
        new_versions |= {"model_garden": garden, "tpu_contrast": garden}
    made_by = {
        "command": "python tests/golden/make_tfa_image_ops.py",
        "versions": old.get("made_by", {}).get("versions", {}) | new_versions,
    }
    merged = old | new
    write({"made_by": made_by} | {key: merged[key] for key in ("tfa", "model_garden", "tpu_contrast") if key in merged})


if __name__ == "__main__":
    main()
