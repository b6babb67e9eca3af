"""Fine-tuning from a checkpoint whose classifier has other classes than the model."""

import logging
from collections.abc import Sequence

import keras
import numpy as np

from keras_tricks.utils.class_names import difference
from keras_tricks.utils.errors import UserError

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


def classifier_of(model: keras.Model) -> keras.layers.Layer | None:
    """The layer `head` of a model, else its last layer with weights, if that gives the classes; else `None`."""
    layers = [layer for layer in model.layers if layer.weights]
    named = next((layer for layer in layers if layer.name == "head"), None)
    last = named or next(iter(reversed(layers)), None)
    kinds = (keras.layers.Dense, keras.layers.Conv2D)
    return last if named is not None or isinstance(last, kinds) else None


def variables_of_classifier(model: keras.Model) -> list[keras.Variable]:
    """The weights of a model's classifier; empty if it has none."""
    found = classifier_of(model)
    return [] if found is None else found.weights


def match_classifier(model: keras.Model, known: Sequence[str], wanted: Sequence[str], name: str) -> None:
    """Adapts the classifier of a model to its class names after loading weights.

    Reorders the outputs if the names are the same in another order, and initializes the classifier again if the names
    differ. Logs both. Changes nothing if the names are equal or unknown.

    Args:
        model: `keras.Model` whose classifier is the layer `head`, or else its last layer with weights.
        known: names of the classes of the weights, in the order of the outputs; empty if unknown.
        wanted: names of the classes of the model.
        name: name of the weights in messages.
    """
    known, wanted = tuple(known), tuple(wanted)
    if not known or known == wanted or len(known) != len(wanted):
        return  # with another number of classes `load` did not change the classifier
    head = classifier_of(model)
    if head is None:
        raise UserError(f"{name} has the classes of the data in another order, or other ones, and {model.name} has no "
                        "Dense layer as its last one: name its classifier 'head'.")
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
