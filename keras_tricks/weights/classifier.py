"""Fine-tuning from a checkpoint whose classifier has other classes than the model."""

import logging
from collections.abc import Sequence

import keras
import numpy as np

from keras_tricks.utils.class_names import difference

log = logging.getLogger("absl")


def has_other_classes(head, tensors, name, model):
    """Whether the classifier of a checkpoint has another number of classes than the model's; logs it.

    Args:
        head: {name of a tensor: the model's variable}.
        tensors: {name: array} of the checkpoint.
        name: name of the checkpoint.
        model: `keras.Model`.
    """
    sizes = [(int(np.prod(tensors[n].shape)), int(np.prod(v.shape)), v) for n, v in head.items() if n in tensors]
    if not sizes or all(theirs == ours for theirs, ours, _ in sizes):
        return False
    theirs, ours, _ = min(sizes, key=lambda size: len(size[2].shape))  # the bias has one value per class
    log.warning("%s: its classifier has %d classes, %s has %d: the classifier keeps its initial weights.", name, theirs,
                model.name, ours)
    return True


def match_classifier(model: keras.Model, known: Sequence[str], wanted: Sequence[str], name: str) -> None:
    """Adapts the classifier of a model to its class names after loading weights.

    Reorders the outputs if the names are the same in another order, and initializes the classifier again if the names
    differ. Logs both. Changes nothing if the names are equal or unknown.

    Args:
        model: `keras.Model` whose classifier is the layer `head`.
        known: names of the classes of the weights, in the order of the outputs; empty if unknown.
        wanted: names of the classes of the model.
        name: name of the weights in messages.
    """
    known, wanted = tuple(known), tuple(wanted)
    if not known or known == wanted or len(known) != len(wanted):
        return  # with another number of classes `load` did not change the classifier
    head = model.get_layer("head")
    if set(known) == set(wanted):
        order = np.array([known.index(label) for label in wanted])
        head.set_weights([values[..., order] for values in head.get_weights()])
        log.info("%s: its classes are in another order; the classifier is reordered by name", name)
        return
    fresh = type(head).from_config(head.get_config())
    fresh.build(head.input.shape)
    head.set_weights(fresh.get_weights())
    log.warning("%s: its classifier has other classes (%s): the classifier keeps its initial weights.", name,
                difference(wanted, known, "the data", "the weights"))
