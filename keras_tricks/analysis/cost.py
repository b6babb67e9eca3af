"""The cost of a model: parameters, multiply-adds by layer, activation memory.

Multiply-adds (MACs) count convolutions and dense layers, as in timm and in the Bag of Tricks and NFNet papers. The
ResNet-RS paper prints FLOPs = 2 x MACs.
"""

import dataclasses
import math
from typing import Any

import keras

from keras_tricks.layers import SqueezeExcite
from keras_tricks.layers.chain import Chain
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import Graph, layers_inside


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """The cost of a layer for one image: multiply-adds, output values, trainable and non-trainable parameters."""

    name: str
    macs: int
    activations: int
    parameters: int
    non_trainable: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a model for one image. `training_memory(batch)` is an estimate in bytes."""

    parameters: int
    non_trainable: int
    layers: tuple

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def activations(self) -> int:
        return sum(layer.activations for layer in self.layers)

    def training_memory(self, batch_size: int, activation_bytes: int = 4, slots: int = 1) -> int:
        """See the function `training_memory`."""
        return training_memory(self, batch_size, activation_bytes, slots)


def training_memory(spent: Any, batch_size: int, activation_bytes: int = 4, slots: int = 1) -> int:
    """Bytes held in a training step: activations kept for the backward pass, weights, gradients, optimizer slots.

    Args:
        spent: `Cost`, or another object with `parameters`, `non_trainable` and `activations`.
        batch_size: integer, images per device.
        activation_bytes: 4 in float32, 2 in mixed precision. Defaults to `4`.
        slots: integer, optimizer variables per weight (1 for momentum). Defaults to `1`.
    """
    weights = 4 * (spent.parameters * (2 + slots) + spent.non_trainable)
    return weights + batch_size * spent.activations * activation_bytes


def cost(model: keras.Model, image_size: int | None = None) -> Cost:
    """Counts the cost of a functional model.

    Args:
        model: a built functional or sequential `keras.Model`. Models inside it are counted too.
        image_size: integer, height and width in pixels. Defaults to `None`: the size the model was built for. Another
            size does not require building the model again.

    Returns:
        A `Cost`. Its `layers` are in graph order; a layer inside a model or layer is named `outer/inner`. A layer
        that is called again has another row, without its parameters.

    Raises:
        UserError: the output size of a layer is unknown; the model does not fit `image_size`; the model, or one inside
            it, is subclassed; or a layer of your own calls layers with weights, which cannot be counted.
    """
    try:
        graph = Graph(model, image_size)
    except (ValueError, TypeError) as error:
        if image_size is None or isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{model.name} does not take images of {image_size} pixels: {reason}") from error
    rows, seen = [], {}
    for call in graph.calls:
        _check_width(call, model)
        seen[id(call.layer)] = seen.get(id(call.layer), 0) + 1
        rows += _rows(call.layer, [t.shape for t in call.inputs], [t.shape for t in call.outputs], call.name,
                      seen[id(call.layer)])
    return Cost(_count(model.trainable_variables), _count(model.non_trainable_variables), tuple(rows))


def _count(variables):
    return sum(math.prod(v.shape) for v in variables if "float" in v.dtype)  # not the seeds of dropout


def _check_width(call, model):
    layer = call.layer
    if isinstance(layer, keras.layers.Dense) and call.inputs[0].shape[-1] != layer.kernel.shape[0]:
        raise UserError(f"Layer {layer.name!r} of {model.name} takes {layer.kernel.shape[0]} inputs and "
                        f"would receive {call.inputs[0].shape[-1]}: the model fits only one image size.")


def _rows(layer, input_shapes, output_shapes, name, times):
    """One row, or one for each layer of a chain such as `DeepStem`. `times`: how often the layer was called so far."""
    if isinstance(layer, (Chain, SqueezeExcite)):
        (shape,) = input_shapes
        for inner in layer.layers:
            made = inner.compute_output_shape(shape)
            yield from _rows(inner, [shape], [made], f"{name}/{inner.name}", times)
            shape = made
        return
    if any(inner.weights for inner in layers_inside(layer)):
        raise UserError(f"cost cannot look inside layer {name!r} ({type(layer).__name__}), whose own code calls layers "
                        "with weights: build those with the functional API.")
    yield _row(layer, output_shapes, name if times == 1 else f"{name} (call {times})", times == 1)


def _row(layer, shapes, name, first):
    if any(size is None for shape in shapes for size in shape[1:]):
        raise UserError(f"The output size of layer {layer.name!r} is unknown: {shapes}. "
                        "Build the model with a fixed `input_shape`, or pass `image_size`.")
    pixels = math.prod(shapes[0][1:-1])  # 1 for a dense layer
    kernels = [k for k in ("kernel", "depthwise_kernel", "pointwise_kernel") if getattr(layer, k, None) is not None]
    macs = sum(pixels * math.prod(getattr(layer, k).shape) for k in kernels)
    activations = sum(math.prod(shape[1:]) for shape in shapes)
    own = isinstance(layer, keras.layers.Layer) and first  # an operation such as `x + y` has no variables
    parameters, others = (_count(v) if own else 0 for v in (
        getattr(layer, "trainable_variables", ()), getattr(layer, "non_trainable_variables", ())))
    return LayerCost(name, macs, activations, parameters, others)
