"""Zero gamma for the model you already have.

Finds the last batch normalization of every residual branch by walking the graph back from each `Add`, and sets its
gamma to 0. See `keras_tricks/initializers/zero_gamma.py` for the trick.
"""

import warnings

import keras

from keras_tricks.layers import DropPath
from keras_tricks.utils.graph import Graph

# May stand between the last normalization of a branch and the addition: they keep zero at zero.
TRANSPARENT = (keras.layers.Dropout, keras.layers.ReLU, keras.layers.Identity, DropPath)


def zero_gamma(model):
    """Sets the gamma of the last batch normalization of each residual branch to 0, in place.

    Of the two inputs of an `Add`, the branch is the one with more convolutions on the way back to the common
    ancestor; the shortcut's normalization keeps its gamma.

    Args:
        model: built functional `keras.Model`, from this zoo, `keras.applications` or your own code.

    Returns:
        The names of the layers changed, in graph order. A model without a residual addition gives an empty list and
        a warning.
    """
    graph = Graph(model)
    changed = []
    for add in graph.additions():
        norm = _last_norm(graph, graph.branch(*add.input))
        if norm is not None and norm.name not in changed:
            norm.gamma.assign(keras.ops.zeros(norm.gamma.shape))
            changed.append(norm.name)
    if not changed:
        message = f"zero_gamma changed nothing: {model.name} has no addition with a normalized branch."
        warnings.warn(message, stacklevel=2)
    return changed


def _last_norm(graph, tensor):
    """The batch normalization that ends at `tensor`, seen through layers that keep zero at zero; else `None`."""
    layer = graph.producer(tensor)
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer if layer.scale else None
    if isinstance(layer, TRANSPARENT):
        return _last_norm(graph, graph.inputs(tensor)[0])
    return None
