"""What a model costs: parameters, multiply-adds by layer, activation memory.

Multiply-adds (MACs) count convolutions and dense layers, as timm and the Bag of Tricks and NFNet papers do. The
ResNet-RS paper prints FLOPs = 2 x MACs.
"""

import dataclasses
import math

import keras


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """A layer: multiply-adds and numbers its output holds, for one image; trained and other parameters it has."""

    name: str
    macs: int
    activations: int
    parameters: int
    non_trainable: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of one image. `training_memory(batch)` is an estimate in bytes."""

    parameters: int
    non_trainable: int
    layers: tuple

    @property
    def macs(self):
        return sum(layer.macs for layer in self.layers)

    @property
    def activations(self):
        return sum(layer.activations for layer in self.layers)

    def training_memory(self, batch_size, activation_bytes=4, slots=1):
        """`training_memory` of this model."""
        return training_memory(self, batch_size, activation_bytes, slots)


def training_memory(spent, batch_size, activation_bytes=4, slots=1):
    """Bytes held in a training step: activations kept for the backward pass, weights, gradients, optimizer slots.

    Args:
        spent: has `parameters`, `non_trainable` and `activations`.
        batch_size: images per device.
        activation_bytes: 4 in float32, 2 in mixed precision.
        slots: optimizer variables per weight (1 for momentum).
    """
    weights = 4 * (spent.parameters * (2 + slots) + spent.non_trainable)
    return weights + batch_size * spent.activations * activation_bytes


def cost(model, image_size=None):
    """Counts a functional model.

    Args:
        model: a built functional `keras.Model`.
        image_size: integer, pixels of height and width. Defaults to the size the model was built for. Another size is
            counted without building the model again.

    Returns:
        A `Cost`; its `layers` are in graph order, layers inside layers are counted under `outer/inner`.

    Raises:
        ValueError: a layer's output size is not known. With `image_size`: a model that holds models or whose
            classifier fits one image size only.
    """
    rows = tuple(_graph_rows(model, "", {} if image_size is None else _sizes(model, image_size)))
    return Cost(_count(model.trainable_variables), _count(model.non_trainable_variables), rows)


def _count(variables):
    return sum(math.prod(v.shape) for v in variables if "float" in v.dtype)  # not the seeds of dropout


def _sizes(model, image_size):
    """{id of a tensor: its shape} when images have that height and width."""
    sizes = {id(t): (t.shape[0], image_size, image_size, *t.shape[3:]) for t in model.inputs}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise ValueError(f"{model.name} holds the model {layer.name!r}: give that one to `cost`, or build "
                             f"{model.name} for images of {image_size} pixels.")
        if not isinstance(layer, keras.layers.InputLayer):
            given = _shapes(layer.input, sizes)
            if isinstance(layer, keras.layers.Dense) and given[-1] != layer.kernel.shape[0]:
                raise ValueError(f"Layer {layer.name!r} of {model.name} takes {layer.kernel.shape[0]} numbers and "
                                 f"would be given {given[-1]}: the model fits one image size only.")
            made = layer.compute_output_shape(given)
            outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
            sizes |= zip(map(id, outputs), made if isinstance(made, list) else [made], strict=True)
    return sizes


def _graph_rows(model, prefix, sizes):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _graph_rows(layer, f"{prefix}{layer.name}/", sizes)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield from _layer_rows(layer, _shapes(layer.input, sizes), _shapes(layer.output, sizes), prefix)


def _layer_rows(layer, input_shape, output_shape, prefix):
    """One row, or one for each layer of a chain such as `DeepStem`."""
    inner = getattr(layer, "layers", None)
    if not inner:
        yield _leaf(layer, output_shape, prefix)
        return
    for sub in inner:
        output_shape = sub.compute_output_shape(input_shape)
        yield from _layer_rows(sub, input_shape, output_shape, f"{prefix}{layer.name}/")
        input_shape = output_shape


def _shapes(tensors, sizes):
    if isinstance(tensors, (list, tuple)):
        return [_shapes(t, sizes) for t in tensors]
    return tuple(sizes.get(id(tensors), tensors.shape))


def _leaf(layer, output_shape, prefix):
    shapes = output_shape if isinstance(output_shape, list) else [output_shape]
    if any(size is None for shape in shapes for size in shape[1:]):
        raise ValueError(f"The output size of layer {layer.name!r} is not known: {output_shape}. "
                         "Build the model with a fixed `input_shape`, or give `image_size`.")
    pixels = math.prod(shapes[0][1:-1])  # 1 for a dense layer
    kernels = [k for k in ("kernel", "depthwise_kernel", "pointwise_kernel") if getattr(layer, k, None) is not None]
    macs = sum(pixels * math.prod(getattr(layer, k).shape) for k in kernels)
    activations = sum(math.prod(shape[1:]) for shape in shapes)
    parameters, others = _count(layer.trainable_variables), _count(layer.non_trainable_variables)
    return LayerCost(prefix + layer.name, macs, activations, parameters, others)
