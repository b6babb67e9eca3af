"""What a model costs: parameters, multiply-adds by layer, activation memory.

Multiply-adds (MACs) count convolutions and dense layers, as timm and the Bag of Tricks and NFNet papers do. The
ResNet-RS paper prints FLOPs = 2 x MACs.
"""

import dataclasses
import math

import keras


@dataclasses.dataclass(frozen=True)
class LayerCost:
    name: str
    macs: int
    activations: int  # numbers the layer's output holds, for one image


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
        """Bytes held in a training step: activations kept for the backward pass, weights, gradients, optimizer slots.

        Args:
            batch_size: images per device.
            activation_bytes: 4 in float32, 2 in mixed precision.
            slots: optimizer variables per weight (1 for momentum).
        """
        weights = 4 * (self.parameters * (2 + slots) + self.non_trainable)
        return weights + batch_size * self.activations * activation_bytes


def cost(model):
    """Counts a functional model at its own input size.

    Args:
        model: a built functional `keras.Model` with known height and width.

    Returns:
        A `Cost`; its `layers` are in graph order, layers inside layers are counted under `outer/inner`.

    Raises:
        ValueError: a layer's output size is not known.
    """
    rows = tuple(_graph_rows(model, ""))
    return Cost(_count(model.trainable_variables), _count(model.non_trainable_variables), rows)


def _count(variables):
    return sum(math.prod(v.shape) for v in variables if "float" in v.dtype)  # not the seeds of dropout


def _graph_rows(model, prefix):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _graph_rows(layer, f"{prefix}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            yield from _layer_rows(layer, _shapes(layer.input), _shapes(layer.output), prefix)


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


def _shapes(tensors):
    return [tuple(t.shape) for t in tensors] if isinstance(tensors, (list, tuple)) else tuple(tensors.shape)


def _leaf(layer, output_shape, prefix):
    shapes = output_shape if isinstance(output_shape, list) else [output_shape]
    if any(size is None for shape in shapes for size in shape[1:]):
        raise ValueError(f"The output size of layer {layer.name!r} is not known: {output_shape}. "
                         "Build the model with a fixed `input_shape`.")
    pixels = math.prod(shapes[0][1:-1])  # 1 for a dense layer
    kernels = [k for k in ("kernel", "depthwise_kernel", "pointwise_kernel") if getattr(layer, k, None) is not None]
    macs = sum(pixels * math.prod(getattr(layer, k).shape) for k in kernels)
    return LayerCost(prefix + layer.name, macs, sum(math.prod(shape[1:]) for shape in shapes))
