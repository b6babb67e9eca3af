"""Perceptual hashes of ImageHash 4.3.2.  Run: python tests/golden/make_imagehash.py"""

import json
import pathlib

import imagehash
import numpy as np
from PIL import Image


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype="uint8")
    return Image.fromarray(coarse).resize((60 + seed, 48), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    rows = {str(seed): str(imagehash.phash(picture(seed))) for seed in range(20)}
    pathlib.Path(__file__).with_name("imagehash.json").write_text(json.dumps(rows, indent=1) + "\n")
