"""A checkpoint whose classifier has other classes than the model: what fine-tuning starts from."""

import logging

import numpy as np

log = logging.getLogger("absl")


def other_head(head, tensors, name, model):
    """Whether the classifier of a checkpoint has another number of classes than the model's; says so in the log.

    Args:
        head: {name of a tensor: the model's variable}.
        tensors: {name: array} of the checkpoint.
        name: of the checkpoint.
        model: `keras.Model`.
    """
    sizes = [(int(np.prod(tensors[n].shape)), int(np.prod(v.shape)), v) for n, v in head.items() if n in tensors]
    if not sizes or all(theirs == ours for theirs, ours, _ in sizes):
        return False
    theirs, ours, _ = min(sizes, key=lambda size: len(size[2].shape))  # the bias has a number for each class
    log.warning("%s: its classifier has %d classes, %s has %d: the classifier starts afresh.", name, theirs, model.name,
                ours)
    return True
