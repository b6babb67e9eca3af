"""timm's checkpoints in the models of the zoo. No torch is needed: tensors come as arrays.

`timm_name` (timm_names.py) translates the path of a variable, `to_keras` turns timm's axes into Keras'. Every tensor of
a checkpoint is used exactly once, or it is an error.
"""

import numpy as np

from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.weights.classifier import other_head
from keras_tricks.weights.sources import find
from keras_tricks.weights.timm_names import HEADS, timm_name


def to_keras(tensor, shape, name):
    """A tensor with timm's axes, with Keras'.

    Convolutions are (out, in, height, width) there and (height, width, in, out) here, depthwise ones (channels, 1,
    height, width) and (height, width, channels, 1); dense kernels are transposed; a gate of squeeze-excite is a 1x1
    convolution there.

    Raises:
        UserError: the shapes do not correspond.
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
        raise UserError(f"timm tensor {name!r} has shape {tensor.shape}, which does not become {tuple(shape)}.")
    return turned


def is_timm(tensors):
    """Whether names of tensors are those of a torch module (`stages.0.0.conv1.weight`) and not of ours."""
    return not any("/" in name for name in tensors) and any(name.endswith(".weight") for name in tensors)


def assign_timm(model, tensors, source="The checkpoint", new_head=False, architecture=""):
    """Puts timm's tensors into a model of the zoo. Nothing is assigned unless everything fits.

    Args:
        model: `keras.Model` of the zoo: ResNets, ResNet-RS, NFNets and normalizer-free ResNets in timm's layouts,
            EfficientNets, Inception-ResNet-v2.
        tensors: {timm name: array}. Counters of batches are left out, and the classifier if the model has none.
        source: what the checkpoint is called in messages.
        new_head: bool, leave the model's classifier as it is where the checkpoint's has other classes.
        architecture: timm's name of the network if it is known, such as `"tf_efficientnet_b0"`.

    Raises:
        UserError: a tensor is missing, left over, not finite or of the wrong shape; it is named. A network with the
            same tensors that computes something else.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    variables = {v.path: v for v in model.variables if v.name != "seed_generator_state"}
    names = {timm_name(path, variables): path for path in variables}
    _check_twin(model, source, architecture)
    head = {name: variables[path] for name, path in names.items() if path.startswith("head/")}
    if not head or (new_head and other_head(head, tensors, source, model)):
        names = {name: path for name, path in names.items() if name not in head}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    for name in names:
        if name not in tensors:
            raise UserError(f"{source} has no tensor {name!r} for {names[name]!r}.{nearest(name, tensors)}")
    for name in tensors:
        if name not in names:
            raise UserError(f"{source}: tensor {name!r} has no place in {model.name}.{nearest(name, names)}")
    arrays = {path: to_keras(tensors[name], variables[path].shape, name) for name, path in names.items()}
    for name, path in names.items():
        if not np.isfinite(arrays[path]).all():
            raise UserError(f"{source}: tensor {name!r} holds values that are not finite.")
    for path, array in arrays.items():
        variables[path].assign(array)


def _check_twin(model, source, architecture):
    """Shapes do not tell layout A from B (timm's bottlenecks have their stride in the 3x3 convolution), and not how an
    EfficientNet pads (timm's `efficientnet_*` on all sides, TensorFlow and its `tf_efficientnet_*` right and bottom).
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stage2_block1_conv3" in layers and layers["stage2_block1_conv1"].strides == (2, 2):
        raise UserError(f"{source} is of layout B, with its strides in 3x3 convolutions, and {model.name} is of layout "
                        "A: build it with the same name and a b, such as resnet50b.")
    if "block1a_dwconv" in layers and architecture and not architecture.startswith("tf_"):
        raise UserError(f"{source} is timm's {architecture}, which pads its images otherwise than TensorFlow: take the "
                        f"weights of tf_{architecture}.")


def layout_of(weights):
    """The `layout` of normalizer-free networks a checkpoint of timm needs, or `None` for other weights."""
    from safetensors import SafetensorError, safe_open

    path = find(weights).path
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError):
        return None  # loading says what is wrong
    if not is_timm(names):
        return None
    return "timm_dm" if any(name.endswith("skipinit_gain") for name in names) else "timm"
