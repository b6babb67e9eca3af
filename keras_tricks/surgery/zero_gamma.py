"""Zero gamma for the model you already have.

Finds the last batch normalization of every residual branch by walking the graph back from each `Add`, and sets its
gamma to 0. See `keras_tricks/initializers/zero_gamma.py` for the trick.
"""

import warnings

import keras

from keras_tricks.layers import DropPath

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
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
    for add in (layer for layer in model.layers if isinstance(layer, keras.layers.Add) and len(layer.input) == 2):
        norm = graph.last_norm(graph.branch(*add.input))
        if norm is not None and norm.name not in changed:
            norm.gamma.assign(keras.ops.zeros(norm.gamma.shape))
            changed.append(norm.name)
    if not changed:
        message = f"zero_gamma changed nothing: {model.name} has no addition with a normalized branch."
        warnings.warn(message, stacklevel=2)
    return changed


class Graph:
    """A functional model, walked from outputs to inputs through public attributes."""

    def __init__(self, model):
        self.producers = {id(t): layer for layer in model.layers for t in keras.tree.flatten(_tensors(layer, "output"))}

    def producer(self, tensor):
        return self.producers.get(id(tensor))

    def inputs(self, tensor):
        layer = self.producer(tensor)
        return [] if layer is None else keras.tree.flatten(_tensors(layer, "input"))

    def ancestors(self, tensor):
        """The ids of all tensors `tensor` is computed from, itself included."""
        seen, stack = set(), [tensor]
        while stack:
            current = stack.pop()
            if id(current) not in seen:
                seen.add(id(current))
                stack += self.inputs(current)
        return seen

    def branch(self, left, right):
        """Of two tensors, the one with more convolutions behind it before both ways meet."""
        behind = {id(t): self.ancestors(t) for t in (left, right)}
        common = behind[id(left)] & behind[id(right)]

        def convolutions(tensor):
            own = behind[id(tensor)] - common
            return sum(isinstance(self.producers.get(t), CONVOLUTIONS) for t in own)

        return max(left, right, key=convolutions)

    def last_norm(self, tensor):
        """The batch normalization that ends at `tensor`, seen through layers that keep zero at zero; else `None`."""
        layer = self.producer(tensor)
        if isinstance(layer, keras.layers.BatchNormalization):
            return layer if layer.scale else None
        if isinstance(layer, TRANSPARENT):
            return self.last_norm(self.inputs(tensor)[0])
        return None


def _tensors(layer, side):
    """`layer.input` or `layer.output`; nothing for a layer that is called more than once or not at all."""
    try:
        return getattr(layer, side)
    except (AttributeError, ValueError):
        return []
