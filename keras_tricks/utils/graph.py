"""A functional model as a graph: its layer calls, the producer and consumers of a tensor, the branch of an addition.

Models inside a model and `keras.Sequential` are followed to any depth, and a layer that is called twice appears twice.
`surgery`, `analysis`, `export` and `models` look at models through this file. It uses only public attributes of Keras.
"""

import contextlib
import dataclasses
import functools
import inspect
import sys
from typing import Any

import keras

from keras_tricks.utils.errors import UserError

NORMALIZATIONS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer, or of an operation such as `x + y`.

    `name` has the models around the layer in front: `"backbone/conv1"`. `inputs` and `outputs` are the tensors of the
    call, `keras.KerasTensor`s that belong to the `Graph` and not to the model.
    """

    layer: Any
    name: str
    args: tuple
    kwargs: dict
    inputs: list
    outputs: list

    @property
    def takes_training(self):
        call = getattr(self.layer, "call", None)
        return isinstance(self.layer, keras.layers.Layer) and "training" in inspect.signature(call).parameters


class Graph:
    """The calls of a functional `keras.Model`, in the order of computation, without models inside.

    Args:
        model: built functional or sequential `keras.Model`.
        image_size: integer, height and width of its images. Defaults to `None`: the size the model was built for.

    Attributes: `calls`; `inputs` and `outputs`, lists of tensors.

    Raises:
        UserError: the model, or a model inside it, is subclassed or not built.
    """

    def __init__(self, model, image_size=None):
        self.model, self.calls = model, []
        _check(model, model)
        self.inputs = [keras.KerasTensor(_resized(t.shape, image_size), t.dtype) for t in model.inputs]
        with deep_graphs():
            self.outputs = self._follow(model, self.inputs, "")
        self.producers = {id(t): call for call in self.calls for t in call.outputs}
        self.readers = {}
        for call in self.calls:
            for tensor in dict.fromkeys(call.inputs):
                self.readers.setdefault(id(tensor), []).append(call)

    def _follow(self, model, inputs, prefix):
        """Records the calls of a model on `inputs`; returns its outputs. `clone_model` gives a call its arguments."""
        end = _End()
        # A separate model: `clone_model` would compile a compiled one again.
        plain = keras.Model(model.inputs, end(list(model.outputs)))

        def record(layer, *args, **kwargs):
            if layer is end:
                raise _Done(keras.tree.flatten(args))
            if isinstance(layer, keras.Model):
                _check(layer, self.model)
                given = keras.tree.flatten(args[0] if args else kwargs["inputs"])
                return self._follow(layer, given, f"{prefix}{layer.name}/")
            outputs = [keras.KerasTensor(t.shape, t.dtype)
                       for t in keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))]
            read = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
            self.calls.append(Call(layer, f"{prefix}{layer.name}", args, kwargs, read, outputs))
            return outputs

        try:
            tensors = keras.tree.pack_sequence_as(plain.input, inputs)
            keras.models.clone_model(plain, tensors, lambda layer: layer, record)
        except _Done as done:
            return done.outputs
        raise AssertionError("the outputs of a model are its last call")

    def producer(self, tensor):
        """The call that made a tensor; `None` for an input."""
        return self.producers.get(id(tensor))

    def consumers(self, tensor):
        """The calls that read a tensor."""
        return self.readers.get(id(tensor), [])

    def is_output(self, tensor):
        return any(tensor is output for output in self.outputs)

    def additions(self):
        """The calls that add two tensors, in the order of computation."""
        return [call for call in self.calls if _adds(call.layer) and len(call.inputs) == 2]

    def ancestors(self, tensor):
        """The ids of all tensors from which `tensor` is computed, including itself."""
        seen, stack = set(), [tensor]
        while stack:
            current = stack.pop()
            if id(current) not in seen:
                seen.add(id(current))
                producer = self.producer(current)
                stack += [] if producer is None else producer.inputs
        return seen

    def convolutions(self, left, right):
        """For each of two tensors, the number of convolutions between it and their common ancestors."""
        behind = [self.ancestors(t) for t in (left, right)]
        common = behind[0] & behind[1]
        return tuple(sum(t in self.producers and isinstance(self.producers[t].layer, CONVOLUTIONS)
                         for t in own - common) for own in behind)

    def branch(self, left, right):
        """Of two tensors, the one with more convolutions between it and their common ancestors."""
        counts = self.convolutions(left, right)
        return left if counts[0] >= counts[1] else right

    def trunk(self):
        """The tensors through which every path from the inputs to the outputs leads, in the order of computation."""
        used = set().union(*(self.ancestors(t) for t in self.outputs))
        calls = [call for call in self.calls if any(id(t) in used for t in call.outputs)]
        last = {id(t): index for index, call in enumerate(calls) for t in call.inputs}
        last |= {id(t): len(calls) for t in self.outputs}
        found, open_until = [], max((last.get(id(t), -1) for t in self.inputs), default=-1)
        for index, call in enumerate(calls):
            if open_until <= index and len(call.outputs) == 1:
                found.append(call.outputs[0])
            open_until = max([open_until, *(last.get(id(t), -1) for t in call.outputs)])
        return found

    def run(self, function, inputs, training=None, wanted=None):
        """Computes the tensors of the graph.

        Args:
            function: called as `function(call, *args, **kwargs)` with values in place of tensors; returns those of the
                outputs.
            inputs: the values of `inputs`.
            training: bool for the layers that take it. Defaults to `None`: as in the model.
            wanted: tensors; other calls than theirs are left out. Defaults to `None`: all calls.

        Returns:
            {id of a tensor: value}.
        """
        values = dict(zip(map(id, self.inputs), inputs, strict=True))
        used = None if wanted is None else set().union(*(self.ancestors(t) for t in wanted))

        def value(leaf):
            return values[id(leaf)] if isinstance(leaf, keras.KerasTensor) and id(leaf) in values else leaf

        for call in self.calls:
            if used is not None and not any(id(t) in used for t in call.outputs):
                continue
            args, kwargs = keras.tree.map_structure(value, (call.args, call.kwargs))
            if training is not None and call.takes_training:
                kwargs = {**kwargs, "training": training}
            values.update(zip(map(id, call.outputs), keras.tree.flatten(function(call, *args, **kwargs)), strict=True))
        return values


def call_layer(call, *args, **kwargs):
    """The function for `Graph.run` that calls the layers themselves."""
    return call.layer(*args, **kwargs)


def packed(model, side, values):
    """Values for the inputs or the outputs of a model in its structure. `side`: `"input"` or `"output"`."""
    if isinstance(model, keras.Sequential):  # Keras has no `input` for one that was not called
        return values[0]
    return keras.tree.pack_sequence_as(getattr(model, side), values)


def every_layer(model):
    """The layers of a model, those inside them, and so on; each once."""
    seen, stack = set(), list(reversed(layers_inside(model)))
    while stack:
        layer = stack.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            stack += reversed(layers_inside(layer))


def layers_inside(layer):
    """The layers that a model or a layer holds in its attributes."""
    if isinstance(layer, keras.Model):
        return layer.layers
    kinds = (keras.layers.Layer, list, tuple, dict)
    held = keras.tree.flatten([v for v in vars(layer).values() if isinstance(v, kinds)])
    return list(dict.fromkeys(v for v in held if isinstance(v, keras.layers.Layer)))


def tensors(layer, side):
    """`layer.input` or `layer.output`; an empty list for a layer that is not called exactly once."""
    try:
        return getattr(layer, side)
    except (AttributeError, ValueError):
        return []


@contextlib.contextmanager
def deep_graphs():
    """Raises the recursion limit: Keras walks a graph recursively, and the deepest networks exceed Python's default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 10_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class _End(keras.layers.Layer):
    """Reads all outputs of a model, so that its call is the last one."""

    def call(self, inputs):
        return inputs[0]

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class _Done(Exception):
    """Ends `clone_model`, which would build a model."""

    def __init__(self, outputs):
        self.outputs = outputs


@functools.cache
def _functional():
    image = keras.Input((1,))
    return type(keras.Model(image, image))


def _check(model, whole):
    inside = "" if model is whole else f" inside {whole.name}"
    if not isinstance(model, keras.Model):
        raise UserError(f"Expected a built functional `keras.Model`. Received: {model!r}")
    if type(model).call not in (_functional().call, keras.Sequential.call):
        raise UserError(f"{model.name}{inside} is a subclassed model ({type(model).__name__}), whose layers are called "
                        "in Python code: pass a functional model, such as one it holds, or build one from `Input`.")
    if not model.built or not getattr(model, "inputs", None):
        raise UserError(f"{model.name}{inside} is not built: give it a `keras.Input`, or call it on a batch first.")


def _resized(shape, image_size):
    if image_size is None or len(shape) != 4:
        return shape
    return shape[0], image_size, image_size, shape[3]


def _adds(layer):
    """`keras.layers.Add`, or the operation of `x + y`, whose class Keras does not export."""
    operation = isinstance(layer, keras.Operation) and not isinstance(layer, keras.layers.Layer)
    return isinstance(layer, keras.layers.Add) or (operation and type(layer).__name__ == "Add")
