"""Minival: training images held out for tuning, so that the validation split stays untouched until the end.

Formula    an example belongs to it if sha256(name) < share * 2^256; nothing but the name decides
Paper      Bello et al. 2021, arXiv:2103.07579, section 4: 2 % of ImageNet's training images; their code takes 20 of the
           1,024 training files
Recipe     minival: data.minival=0.02
Use when   you choose a magnitude, a dropout rate or an epoch to stop at
Do not     report its accuracy as that of the validation split: train once more on all images
Cost       the held-out images are not trained on
Differs    folders and packed data are split by image, TFDS by slices (`train[:98%]`, `train[98%:]`)
Status     no image is in both parts, whatever the order of the files (tests/data)
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from keras_tricks.utils.errors import UserError


def split_off(names: Iterable[str | int], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples in two by their names. Adding examples does not move the others.

    Args:
        names: strings or integers, one per example.
        share: float in (0, 1), approximate share of the examples to hold out.

    Returns:
        Two sorted integer arrays: the indices of the examples kept and of those held out.

    Raises:
        UserError: one of the two parts would be empty.
    """
    names = list(names)
    held_out = np.array([_position(name) < share for name in names], bool)
    if held_out.all() or not held_out.any():
        raise UserError(f"`data.minival`={share:g} of {len(names)} training images leaves none to "
                        f"{'validate' if not held_out.any() else 'train'} on: give another share.")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _position(name):
    """A pseudo-random number in [0, 1) that depends on the name only."""
    return int.from_bytes(hashlib.sha256(str(name).encode("utf-8", "surrogateescape")).digest()[:7], "big") / 2**56
