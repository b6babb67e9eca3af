"""Minival: training images held out to tune on, so that the validation split stays untouched until the end.

Formula    an example belongs to it when sha256(name) < share * 2^256; the name decides, and nothing else
Paper      Bello et al. 2021, arXiv:2103.07579, section 4: 2 % of ImageNet's training images; their code takes 20 of the
           1,024 training files
Recipe     minival: data.minival=0.02
Use when   choosing a magnitude, a dropout rate, an epoch to stop at
Do not     report its accuracy as that of the validation split: train once more on everything
Cost       the share is not trained on
Differs    folders and packed data are divided by image; TFDS by slices (`train[:98%]`, `train[98%:]`)
Status     no image is in both parts, whatever the order of the files (tests/data)
"""

import hashlib

import numpy as np

from keras_tricks.utils.errors import UserError


def split_off(names, share):
    """Divides examples in two by their names. Adding examples moves none of the others.

    Args:
        names: strings or integers, one for each example.
        share: float in (0, 1), of the examples to hold out, about.

    Returns:
        Two integer arrays, in order: the places of those kept and of those held out.

    Raises:
        UserError: one of the two would be empty.
    """
    names = list(names)
    held_out = np.array([_position(name) < share for name in names], bool)
    if held_out.all() or not held_out.any():
        raise UserError(f"`data.minival`={share:g} of {len(names)} training images leaves none to "
                        f"{'validate' if not held_out.any() else 'train'} on: give another share.")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _position(name):
    """Where a name falls in [0, 1)."""
    return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:7], "big") / 2**56
