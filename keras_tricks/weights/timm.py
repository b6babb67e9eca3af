"""timm's names and shapes for the weights of the zoo. No torch is needed: tensors come as arrays.

A variable of ours has a path such as `stage2_block1_conv3/kernel`. `timm_name` translates it, `to_keras` turns timm's
axes into Keras'. Every tensor of a checkpoint is used exactly once, or it is an error.
"""

import re

import numpy as np

from keras_tricks.errors import UserError, nearest
from keras_tricks.weights.classifier import other_head
from keras_tricks.weights.sources import find

LEAVES = {"kernel": "weight", "bias": "bias", "gain": "gain", "gamma": "weight", "beta": "bias",
          "moving_mean": "running_mean", "moving_variance": "running_var"}  # fmt: skip

HEADS = ("fc.", "head.fc.")  # timm's classifiers

# Ordered rules for the layer part of a path: (pattern, timm's form). {stage} and {block} count from 0.
NORMALIZER_FREE = (
    (r"stem", "stem.conv"),
    (r"stem_(conv\d)", r"stem.\1"),
    (r"stage_block_shortcut", "stages.{stage}.{block}.downsample.conv"),
    (r"stage_block_conv(\d)", r"stages.{stage}.{block}.conv\1"),
    (r"stage_block_se/(fc\d)", r"stages.{stage}.{block}.attn_last.\1"),
    (r"stage_block_skip_gain", "stages.{stage}.{block}.skipinit"),
    (r"final_conv", "final_conv"),
    (r"head", "head.fc"),
)
RESNET = (
    (r"stem", "conv1"),
    (r"stem_bn", "bn1"),
    (r"stem/conv1", "conv1.0"),
    (r"stem/bn1", "conv1.1"),
    (r"stem/conv2", "conv1.3"),
    (r"stem/bn2", "conv1.4"),
    (r"stem/conv3", "conv1.6"),
    (r"stem/bn3", "bn1"),
    (r"stem_pool", "maxpool.0"),
    (r"stem_pool_bn", "maxpool.1"),
    (r"stage_block_conv(\d)", r"layer{layer}.{block}.conv\1"),
    (r"stage_block_conv(\d)_bn", r"layer{layer}.{block}.bn\1"),
    (r"stage_block_se/(fc\d)", r"layer{layer}.{block}.se.\1"),
    (r"stage_block_shortcut", "layer{layer}.{block}.downsample.0"),
    (r"stage_block_shortcut_bn", "layer{layer}.{block}.downsample.1"),
    (r"stage_block_shortcut/conv", "layer{layer}.{block}.downsample.1"),  # layout D: 0 is the average pooling
    (r"stage_block_shortcut/bn", "layer{layer}.{block}.downsample.2"),
    (r"head", "fc"),
)


def rules_of(paths):
    """The rules for a model with variables at these paths."""
    return NORMALIZER_FREE if "stage1_block1_conv1/gain" in paths else RESNET


def timm_name(path, paths):
    """timm's name of the variable at `path` of a model whose variables are at `paths`.

    Raises:
        UserError: the model is of no family that timm has.
    """
    layer, _, leaf = path.rpartition("/")
    numbers = re.match(r"stage(\d+)_block(\d+)", layer)
    stage, block = (int(n) - 1 for n in numbers.groups()) if numbers else (None, None)
    plain = re.sub(r"^stage\d+_block\d+", "stage_block", layer)
    for pattern, form in rules_of(paths):
        if re.fullmatch(pattern, plain) and leaf in LEAVES:
            name = re.sub(pattern, form, plain).format(stage=stage, block=block, layer=(stage or 0) + 1)
            return _finish(name, leaf, paths)
    raise UserError(f"timm has no name for the variable {path!r}: its family has no converter.")


def _finish(name, leaf, paths):
    if name.endswith("skipinit"):
        return f"{name}_gain"
    if "stage1_block1_conv4/kernel" in paths and name.startswith("stages"):  # NFNets: conv1, conv2, conv2b, conv3
        name = re.sub(r"conv[34]$", lambda m: {"conv3": "conv2b", "conv4": "conv3"}[m[0]], name)
    return f"{name}.{LEAVES[leaf]}"


def to_keras(tensor, shape, name):
    """A tensor with timm's axes, with Keras'.

    Convolutions are (out, in, height, width) there and (height, width, in, out) here, dense kernels transposed; a gate
    of squeeze-excite is a 1x1 convolution there.

    Raises:
        UserError: the shapes do not correspond.
    """
    tensor = np.asarray(tensor)
    turned = tensor
    if len(shape) == 4 and tensor.ndim == 4:
        turned = tensor.transpose(2, 3, 1, 0)
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


def assign_timm(model, tensors, source="The checkpoint", new_head=False):
    """Puts timm's tensors into a model of the zoo. Nothing is assigned unless everything fits.

    Args:
        model: `keras.Model` of the zoo: ResNets, ResNet-RS, NFNets, normalizer-free ResNets in timm's layouts.
        tensors: {timm name: array}. Counters of batches are left out, and the classifier if the model has none.
        source: what the checkpoint is called in messages.
        new_head: bool, leave the model's classifier as it is where the checkpoint's has other classes.

    Raises:
        UserError: a tensor is missing, left over, not finite or of the wrong shape; it is named.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    variables = {v.path: v for v in model.variables if v.name != "seed_generator_state"}
    names = {timm_name(path, variables): path for path in variables}
    _check_strides(model, source)
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


def _check_strides(model, source):
    """Shapes do not tell layout A from B: timm's bottlenecks have the stride in the 3x3 convolution."""
    layers = {layer.name: layer for layer in model.layers}
    if "stage2_block1_conv3" in layers and layers["stage2_block1_conv1"].strides == (2, 2):
        raise UserError(f"{source} is of layout B, with its strides in 3x3 convolutions, and {model.name} is of layout "
                        "A: build it with the same name and a b, such as resnet50b.")


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
