"""The operations of RandAugment against golden values of Pillow and TensorFlow Addons on crops of photographs."""

import base64
import hashlib
import io
import json
import pathlib
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks.data.augment import image_ops
from keras_tricks.utils.errors import UserError

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
CROPS = [np.array(Image.open(io.BytesIO(base64.b64decode(crop["png"]))))
         for crop in json.loads((GOLDEN / "image_crops.json").read_text())["crops"]]
PILLOW = json.loads((GOLDEN / "pil_image_ops.json").read_text())["cases"]
TENSORFLOW = json.loads((GOLDEN / "tfa_image_ops.json").read_text())
ADDONS, MODEL_GARDEN = TENSORFLOW["tfa"]["cases"], TENSORFLOW["model_garden"]["cases"]


def name(case):
    return f"{case['op']}-{case['crop']}-{'-'.join(str(v) for v in case['parameters'].values())}"


def ours(case):
    """The same operation of this package, on the same crop."""
    image, p = tf.constant(CROPS[case["crop"]]), case["parameters"]
    resample = p.get("resample", "nearest")
    return {
        "AutoContrast": lambda: image_ops.autocontrast(image),
        "Equalize": lambda: image_ops.equalize(image),
        "Invert": lambda: image_ops.invert(image),
        "Posterize": lambda: image_ops.posterize(image, p["bits"]),
        "Solarize": lambda: image_ops.solarize(image, p["threshold"]),
        "SolarizeAdd": lambda: image_ops.solarize_add(image, p["addition"]),
        "Color": lambda: image_ops.color(image, p["factor"]),
        "Contrast": lambda: image_ops.contrast(image, p["factor"]),
        "Brightness": lambda: image_ops.brightness(image, p["factor"]),
        "Sharpness": lambda: image_ops.sharpness(image, p["factor"]),
        "Rotate": lambda: image_ops.rotate(image, p["degrees"], resample),
        "ShearX": lambda: image_ops.shear_x(image, p["level"], resample),
        "ShearY": lambda: image_ops.shear_y(image, p["level"], resample),
        "TranslateX": lambda: image_ops.translate_x(image, p["pixels"]),
        "TranslateY": lambda: image_ops.translate_y(image, p["pixels"]),
        "Cutout": lambda: image_ops.cutout(image, p["pad"], p["row"], p["column"]),
    }[case["op"]]().numpy()


def sample(case):
    """Every seventh pixel of the reference, or of Pillow's if TensorFlow's bytes are the same."""
    if "sample" not in case:
        case = next(c for c in PILLOW if name(c) == name(case))
    return np.frombuffer(zlib.decompress(base64.b64decode(case["sample"])), "uint8").reshape(-1, 3).astype(int)


def difference(case):
    return np.abs(ours(case).reshape(-1, 3)[::7].astype(int) - sample(case))


GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
EXACT_IN_PILLOW = [c for c in PILLOW if c["op"] not in GEOMETRY]
EXACT_IN_ADDONS = [c for c in ADDONS if c["op"] != "Sharpness" and not (
    c["op"].startswith("Translate") and c["parameters"]["resample"] == "bilinear")]


@pytest.mark.parametrize("case", EXACT_IN_PILLOW, ids=name)
def test_point_operations_are_pillows_to_the_bit(case):
    assert hashlib.sha256(ours(case).tobytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", EXACT_IN_ADDONS, ids=name)
def test_geometry_is_that_of_tensorflow_addons_to_the_bit(case):
    assert hashlib.sha256(ours(case).tobytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", [c for c in ADDONS if c["op"] == "Sharpness"], ids=name)
def test_sharpness_is_within_rounding_of_tensorflow_addons(case):
    assert difference(case).mean() < 1.0 and difference(case).max() <= 3


@pytest.mark.parametrize("case", [c for c in PILLOW if c["op"] in ("Rotate", "TranslateX", "TranslateY")
                                  and c["parameters"]["resample"] == "nearest"], ids=name)
def test_rotation_and_translation_are_within_a_grey_level_of_pillow(case):
    assert difference(case).mean() < 1.0


@pytest.mark.parametrize("case", [c for c in PILLOW if c["op"] in ("ShearX", "ShearY")
                                  and c["parameters"]["resample"] == "nearest"], ids=name)
def test_shear_is_pillows_moved_by_half_a_pixel(case):
    """Pillow shears about the image's edge, TensorFlow about the centre of the first pixel."""
    image, level = tf.constant(CROPS[case["crop"]]), case["parameters"]["level"]
    along_x, along_y = (1.0, level, level / 2, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, level, 1.0, level / 2)
    matrix = along_x if case["op"] == "ShearX" else along_y
    assert hashlib.sha256(image_ops.transform(image, matrix).numpy().tobytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", [c for c in MODEL_GARDEN if c["op"] in (
    "Brightness", "Cutout", "Equalize", "Invert", "Posterize", "SolarizeAdd")], ids=name)
def test_model_garden_agrees_where_it_is_the_papers_code(case):
    assert hashlib.sha256(ours(case).tobytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", [c for c in PILLOW if c["op"] in ("Equalize", "AutoContrast", "Rotate", "ShearY")
                                  and c["parameters"].get("resample") != "bilinear"], ids=name)
def test_the_compiled_form_gives_the_same_bytes_as_the_plain_one(case, monkeypatch):
    compiled = ours(case)
    monkeypatch.setattr(image_ops, "_compiled", lambda function: function)
    np.testing.assert_array_equal(ours(case), compiled)


def test_any_size_and_unknown_sizes():
    for shape in ((1, 1, 3), (1, 7, 3), (5, 2, 3)):
        image = tf.constant(np.random.default_rng(0).integers(0, 256, shape, dtype="uint8"))
        unknown = tf.function(lambda x: image_ops.equalize(image_ops.rotate(x, 30.0)),
                              input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
        np.testing.assert_array_equal(unknown(image), image_ops.equalize(image_ops.rotate(image, 30.0)))
        for function, argument in ((image_ops.autocontrast, ()), (image_ops.contrast, (1.9,)),
                                   (image_ops.color, (0.1,)), (image_ops.sharpness, (1.9,)),
                                   (image_ops.translate_x, (100,)), (image_ops.shear_y, (-0.3,))):
            assert function(image, *argument).shape == shape


def test_unknown_interpolation_names_the_choices():
    with pytest.raises(UserError, match="'nearest', 'bilinear'. Received: 'bicubic'"):
        image_ops.rotate(tf.constant(CROPS[0]), 10.0, "bicubic")
