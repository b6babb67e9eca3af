"""Progressive resizing: training images are smaller in the first epochs.

Formula    the size of epoch e is the first s_i with e < e_i, afterwards `data.image_size`
Paper      Howard 2018, DAWNBench entry of fast.ai (https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html); the
           scaling study of ResNet-RS (arXiv:2103.07579, section 4) finds slow growth of the resolution best
Recipe     progressive_resizing: data.progressive_resizing=[[160,6],[192,12]]
Use when   a step of large images is expensive: half the size costs a quarter
Do not     use it with a network of fixed input, or without epochs at the last size
Cost       one compilation for each size
Differs    the batch and the learning rate stay those of the schedule
Status     exact resume and 1 = 2 replicas (tests/data); not measured here
"""

from collections.abc import Sequence

from keras_tricks.utils.errors import UserError


def spans_of_sizes(image_size: int, smaller: Sequence[tuple[int, int]], epochs: int) -> list[tuple[range, int]]:
    """The epochs of each image size of a run, in order.

    Args:
        image_size: integer, pixels of the last span.
        smaller: pairs of integers (pixels, epoch before which training images have this size), by ascending epochs.
        epochs: integer, epochs of the run.

    Returns:
        A list of (`range` of epochs, pixels).

    Raises:
        UserError: the epochs do not ascend, or none is left for `image_size`.
    """
    stops = [stop for _, stop in smaller]
    if sorted(set(stops)) != stops or (stops and stops[-1] >= epochs):
        raise UserError("`data.progressive_resizing` must be pairs [pixels, epoch before which images have this size] "
                        f"with ascending epochs below schedule.epochs={epochs}, the rest of which has "
                        f"data.image_size={image_size}. Received: {[list(pair) for pair in smaller]}")
    sizes = [*(size for size, _ in smaller), image_size]
    return [(range(first, stop), size) for first, stop, size in zip([0, *stops], [*stops, epochs], sizes, strict=True)]
