"""Repeated augmentation: a batch contains several augmented copies of each of its images.

Formula    the example at position p of an epoch is copy p mod r of the image at place p div r of the shuffled order
Paper      Hoffer et al. 2019, arXiv:1901.09335; Berman et al. 2019, arXiv:1902.05509; three copies in A1 and A2 of
           Wightman et al. 2021, arXiv:2110.00476
Recipe     repeated_augmentation: augment.repeats=3
Use when   training for many epochs with strong augmentation
Do not     use it in short training: an epoch of as many images sees 1 / r of the data
Cost       none; r times fewer images are read, each of them r times
Differs    the copies are neighbours in the global batch. timm's sampler gives them to different devices, and drops the
           rest of the data that 256 does not divide
Status     the same batches for any number of processes (tests/data); not measured here
"""

from keras_tricks.utils.errors import UserError

COPY_STRIDE = 2**40  # separates the seeds of the copies of an example


def copy_of(position, repeats):
    """(place in the shuffled order, number of the copy) of the example at a position of an epoch. Integers."""
    return position // repeats, position % repeats


def check_repeats(batch_size: int, repeats: int) -> None:
    """Raises `UserError` if a batch does not contain all copies of its images."""
    if batch_size % repeats:
        raise UserError(f"`augment.repeats` must divide the batch of {batch_size} images, so that a batch has all "
                        f"copies of an image. Received: {repeats}")
