"""Golden values that several tests read."""

import base64
import io
import json
import pathlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
AUGMENTATIONS = json.loads((FOLDER / "augmentations.json").read_text())


def golden_crops():
    """The small windows of photographs, uint8 `(64, 48, 3)`."""
    crops = json.loads((FOLDER / "image_crops.json").read_text())["crops"]
    return [np.array(Image.open(io.BytesIO(base64.b64decode(crop["png"])))) for crop in crops]
