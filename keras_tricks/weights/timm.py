"""Loads timm's checkpoints into the models of the zoo. It does not need torch: tensors are arrays.

`timm_name` (timm_names.py) translates the path of a variable, and `to_keras` converts timm's axes to Keras'. It is an
error unless every tensor of a checkpoint is used exactly once.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.weights.checks import check_floats
from keras_tricks.weights.classifier import has_other_classes
from keras_tricks.weights.sources import find
from keras_tricks.weights.stem import COLOURS, channels_of_model, is_stem, with_adapted_stem
from keras_tricks.weights.timm_names import HEADS, timm_name


def to_keras(tensor, shape, name):
    """Converts a tensor from timm's axes to Keras'.

    Convolutions are (out, in, height, width) in timm and (height, width, in, out) here; depthwise ones are (channels,
    1, height, width) and (height, width, channels, 1). Dense kernels are transposed. Dense layers of squeeze-excite
    are 1x1 convolutions in timm.

    Raises:
        UserError: the shapes do not match.
    """
    tensor = np.asarray(tensor)
    turned = tensor
    if len(shape) == 4 and tensor.ndim == 4:
        depthwise = tensor.shape[:2] == (shape[2], 1) and shape[3] == 1
        turned = tensor.transpose(2, 3, 0, 1) if depthwise else tensor.transpose(2, 3, 1, 0)
    elif len(shape) == 2 and tensor.ndim in (2, 4):
        turned = tensor.reshape(tensor.shape[:2]).T if tensor.size == np.prod(tensor.shape[:2]) else tensor
    elif len(shape) <= 1 and tensor.size == np.prod(shape):
        turned = tensor.reshape(shape)
    if turned.shape != tuple(shape):
        raise UserError(f"timm tensor {name!r} has shape {tensor.shape}, which cannot become {tuple(shape)}.")
    return turned


def is_timm(tensors):
    """Whether tensor names are those of a torch module (`stages.0.0.conv1.weight`) and not ours."""
    return not any("/" in name for name in tensors) and any(name.endswith(".weight") for name in tensors)


def assign_timm(model: keras.Model, tensors: Mapping[str, Any], source: str = "The checkpoint", new_head: bool = False,
                architecture: str = "") -> None:
    """Copies timm's tensors into a model of the zoo. Assigns nothing unless everything fits.

    Args:
        model: `keras.Model` of the zoo: ResNets, ResNet-RS, NFNets and normalizer-free ResNets in timm's layouts,
            EfficientNets, Inception-ResNet-v2.
        tensors: {timm name: array}. Batch counters are ignored, as is the classifier if the model has none.
        source: name of the checkpoint in messages. Defaults to `"The checkpoint"`.
        new_head: bool, whether to skip a classifier with another number of classes, and to adapt the first convolution
            to the channels of the model, see `weights/stem.py`. Defaults to `False`.
        architecture: timm's name of the network, such as `"tf_efficientnet_b0"`, or `""` if unknown. Defaults to `""`.

    Raises:
        UserError: a tensor is missing, unused, not finite or of the wrong shape (the message names it), or a network
            with the same tensors computes another function.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    variables = {v.path: v for v in model.variables if v.name != "seed_generator_state"}
    names = {timm_name(path, variables): path for path in variables}
    _check_same_function(model, source, architecture)
    head = {name: variables[path] for name, path in names.items() if path.startswith("head/")}
    if not head or (new_head and has_other_classes(head, tensors, source, model)):
        names = {name: path for name, path in names.items() if name not in head}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    for name in names:
        if name not in tensors:
            raise UserError(f"{source} has no tensor {name!r} for {names[name]!r}.{nearest(name, tensors)}")
    for name in tensors:
        if name not in names:
            raise UserError(f"{source}: {model.name} does not use tensor {name!r}.{nearest(name, names)}")
    check_floats({name: np.asarray(tensors[name]) for name in names}, source)
    channels = channels_of_model(model) if new_head else COLOURS
    arrays = {path: to_keras(tensors[name], _shape(variables[path].shape, np.shape(tensors[name]), channels), name)
              for name, path in names.items()}
    arrays = with_adapted_stem({path: variables[path] for path in arrays}, arrays, channels, source)
    for path, array in arrays.items():
        variables[path].assign(array)


def _shape(shape, theirs, channels):
    """The shape of a variable in Keras' layout, with three channels if timm's first convolution has them."""
    turned = (*theirs[2:], *theirs[:2][::-1])
    return turned if len(theirs) == 4 and is_stem(shape, turned, channels) else shape


def _check_same_function(model, source, architecture):
    """Rejects checkpoints whose shapes fit but whose network differs.

    Shapes do not distinguish layout A from B (timm's bottlenecks have their stride in the 3x3 convolution), or the
    padding of EfficientNets (timm's `efficientnet_*` pads all sides; TensorFlow and `tf_efficientnet_*` pad right and
    bottom).
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stage2_block1_conv3" in layers and layers["stage2_block1_conv1"].strides == (2, 2):
        raise UserError(f"{source} has layout B, with strides in 3x3 convolutions, and {model.name} has layout A: "
                        "build the model with b after its name, such as resnet50b.")
    if "block1a_dwconv" in layers and architecture and not architecture.startswith("tf_"):
        raise UserError(f"{source} is timm's {architecture}, which pads images differently from TensorFlow: use the "
                        f"weights of tf_{architecture}.")


def layout_of(weights):
    """The `layout` that a timm checkpoint of a normalizer-free network needs, or `None` for other weights."""
    from safetensors import SafetensorError, safe_open

    path = find(weights).path
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError):
        return None  # loading reports the error
    if not is_timm(names):
        return None
    return "timm_dm" if any(name.endswith("skipinit_gain") for name in names) else "timm"
