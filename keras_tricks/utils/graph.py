"""A functional model as a graph: who made a tensor, who uses it, which side of an addition is the branch.

Only public attributes of Keras are used. `surgery`, `analysis` and `export` look at models through it.
"""

import keras

NORMALIZATIONS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


class Graph:
    """A functional `keras.Model`, walked through its tensors."""

    def __init__(self, model):
        self.model = model
        self.producers = {id(t): layer for layer in model.layers for t in keras.tree.flatten(tensors(layer, "output"))}
        self.consumers = {}
        for layer in model.layers:
            for tensor in keras.tree.flatten(tensors(layer, "input")):
                self.consumers.setdefault(id(tensor), []).append(layer)

    def producer(self, tensor):
        return self.producers.get(id(tensor))

    def inputs(self, tensor):
        layer = self.producer(tensor)
        return [] if layer is None else keras.tree.flatten(tensors(layer, "input"))

    def additions(self):
        """The layers that add two tensors, in graph order."""
        return [a for a in self.model.layers if isinstance(a, keras.layers.Add) and len(a.input) == 2]

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


def every_layer(model):
    """The layers of a model and those inside them."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from every_layer(layer)


def tensors(layer, side):
    """`layer.input` or `layer.output`; nothing for a layer that is called more than once or not at all."""
    try:
        return getattr(layer, side)
    except (AttributeError, ValueError):
        return []
