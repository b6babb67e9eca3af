"""Feature maps of a zoo model at chosen strides, for detection and segmentation.

The model has the property `pyramid_outputs`, which KerasHub reads, so its task models accept it as `image_encoder`:

    encoder = kt.models.feature_pyramid("resnet50d", input_shape=(512, 512, 3))
    keras_hub.models.DeepLabV3Backbone(encoder, "P5", 8, [6, 12, 18], "P2", image_shape=(512, 512, 3))
    keras_hub.models.RetinaNetBackbone(encoder, min_level=3, max_level=7, use_p5=False, image_shape=(512, 512, 3))
"""

import copy
import math
import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers import ScaledActivation
from keras_tricks.models.registry import create_model
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import NORMALIZATIONS, Graph, call_layer, tensors

SIZES = (512, 1024)  # of images, to compute strides
ACTIVATIONS = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU,
               keras.layers.ELU, ScaledActivation)


def feature_pyramid(name: str, strides: Sequence[int] = (4, 8, 16, 32), input_shape: Sequence[int] = (224, 224, 3),
                    **kwargs: Any) -> "FeaturePyramid":
    """A zoo model without its head; it returns one feature map per stride.

    Args:
        name: registry key.
        strides: integers, input pixels per feature pixel, in the order of the outputs. Defaults to `(4, 8, 16, 32)`.
        input_shape: `(height, width, channels)` without `None`. Defaults to `(224, 224, 3)`.
        **kwargs: other arguments of the model (`weights`, `drop_path_rate`, ...).

    Returns:
        A `FeaturePyramid`, a `keras.Model`: image `(batch, height, width, 3)` -> list of `(batch, height / s, width /
        s, channels)`, one for each stride. `output_names` names the stage of each.

    Raises:
        UserError: the model has no feature map at one of `strides`; the message lists those it has.
    """
    return FeaturePyramid(name, strides, input_shape, **kwargs)


@keras.saving.register_keras_serializable(package="keras_tricks")
class FeaturePyramid(keras.Model):
    """The model that `feature_pyramid` returns, with the same arguments.

    `pyramid_outputs` is {"P2": map at stride 4, "P3": map at stride 8, ...}.
    """

    def __init__(self, model: str, strides: Sequence[int] = (4, 8, 16, 32), input_shape: Sequence[int] = (224, 224, 3),
                 name: str | None = None, taps: dict[str, str] | None = None, **options: Any) -> None:
        if None in input_shape:
            raise UserError(f"`input_shape` must not contain None: the strides depend on it. Received: {input_shape}")
        whole = create_model(model, include_top=False, input_shape=tuple(input_shape), **options)
        found = stage_outputs(whole) if taps is None else _named(whole, taps)
        missing = [s for s in strides if s not in found]
        if missing:
            raise UserError(f"{model} has no feature map at stride {missing[0]}. It has: {sorted(found)}.")
        super().__init__(whole.input, [found[s] for s in strides], name=name or f"{model}_pyramid")
        self.pyramid_outputs = {f"P{int(math.log2(s))}": found[s] for s in sorted(strides)}
        options.pop("weights", None)  # a saved model holds its weights
        taps = {str(s): name for s, name in zip(strides, self.output_names, strict=True)}
        self._config = {"model": model, "strides": list(strides), "input_shape": list(input_shape), "taps": taps,
                        **options}

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **copy.deepcopy(self._config)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "FeaturePyramid":
        if "taps" not in config:  # a file of keras_tricks 0.1.0, whose maps were the last blocks by name
            return cls(**config, taps=_last_blocks(config))
        return cls(**config)


def stage_outputs(model: keras.Model) -> dict[int, Any]:
    """{stride: tensor} of a model without its head: the last activation at each stride.

    Only tensors count through which every path leads, so that a map holds all that comes before it: the end of a block,
    or a place inside a block without shortcut, as in EfficientNets. In pre-activation networks, whose shortcuts carry
    the sums, the last sum counts instead. A stride is the step of the input that moves the output by one pixel,
    computed from the sizes of the maps for two image sizes.

    Raises:
        UserError: the model is subclassed or not built, or a layer of it fits only one image size.
    """
    graphs = [_sized(model, size) for size in SIZES]
    others = {id(t): other for t, other in zip(*(_outputs(graph) for graph in graphs), strict=True)}
    graph, pre_activation = graphs[0], _is_pre_activation(graphs[0])
    found = {}
    for tensor in graph.trunk():
        stride = _stride(tensor, others[id(tensor)])
        call = graph.producer(tensor)
        if stride is None or not _ends_a_stage(graph, call):
            continue
        last = found.get(stride)
        if pre_activation and last is not None and _is_sum(graph, last) and not _is_sum(graph, call):
            continue
        found[stride] = call
    if all(_is_known(model, call) for call in found.values()):
        return {stride: call.layer.output for stride, call in found.items()}
    values = graph.run(call_layer, model.inputs, wanted=[call.outputs[0] for call in found.values()])
    return {stride: values[id(call.outputs[0])] for stride, call in found.items()}


def _sized(model, size):
    try:
        return Graph(model, size)
    except (ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{model.name} fits only one image size, so its strides are unknown: {reason}") from error


def _outputs(graph):
    return [t for call in graph.calls for t in call.outputs]


def _stride(tensor, other):
    """Input pixels per pixel of a map, from its height for both of `SIZES`; `None` if it is not a map."""
    if len(tensor.shape) != 4 or not other.shape[1] or other.shape[1] == tensor.shape[1]:
        return None
    stride = (SIZES[1] - SIZES[0]) / (other.shape[1] - tensor.shape[1])
    return int(stride) if stride == int(stride) else None


def _is_sum(graph, call):
    return any(call is addition for addition in graph.additions())


def _ends_a_stage(graph, call):
    """Whether a call is an activation, a sum, or joins activations, as Inception blocks do."""
    if isinstance(call.layer, keras.layers.Concatenate):
        return True
    fused = getattr(call.layer, "activation", None) not in (None, keras.activations.linear)  # such as VGG's
    return fused or isinstance(call.layer, ACTIVATIONS) or _is_sum(graph, call)


def _is_pre_activation(graph):
    """Whether some shortcut carries a sum on to the next one, while the branch beside it starts with an activation."""
    for addition in graph.additions():
        readers = graph.consumers(addition.outputs[0])
        if any(_is_sum(graph, reader) for reader in readers) and any(_activates(graph, r) for r in readers):
            return True
    return False


def _activates(graph, call):
    if isinstance(call.layer, NORMALIZATIONS):
        return any(isinstance(r.layer, ACTIVATIONS) for r in graph.consumers(call.outputs[0]))
    return isinstance(call.layer, ACTIVATIONS)


def _is_known(model, call):
    """Whether a call is the only one of a layer of the model itself, so that Keras has its output."""
    own = any(call.layer is layer for layer in model.layers)
    return own and isinstance(tensors(call.layer, "output"), keras.KerasTensor)


def _named(model, taps):
    return {int(stride): model.get_layer(name).output for stride, name in taps.items()}


def _last_blocks(config):
    """{stride: layer} of the last block at each stride, by name and by the nearest power of two."""
    options = {k: v for k, v in config.items() if k not in ("name", "strides", "model", "input_shape")}
    shape = tuple(config["input_shape"])
    whole = create_model(config["model"], include_top=False, input_shape=shape, **options)
    blocks = [layer for layer in whole.layers if re.fullmatch(r"stage\d+_block\d+_out", layer.name)]
    return {str(2 ** round(math.log2(shape[0] / block.output.shape[1]))): block.name for block in blocks}
