"""timm's names and shapes for the weights of the zoo. No torch is needed: tensors come as arrays.

A variable of ours has a path such as `stage2_block1_conv3/kernel`. `timm_name` translates it, `to_keras` turns timm's
axes into Keras'. Every tensor of a checkpoint is used exactly once, or it is an error.
"""

import re

import numpy as np

from keras_tricks.errors import UserError, nearest

LEAVES = {"kernel": "weight", "bias": "bias", "gain": "gain"}


def _normalizer_free(path, convolutions):
    """`stage2_block1_conv4/kernel` -> `stages.1.0.conv3.weight`; four convolutions are 1, 2, 2b and 3 in timm."""
    layer, _, leaf = path.rpartition("/")
    if layer.endswith("_skip_gain"):
        return _block(layer, "skipinit_gain")
    leaf = LEAVES[leaf]
    if "_se/" in layer:
        return _block(layer, f"attn_last.{layer.rpartition('/')[2]}.{leaf}")
    if layer.endswith("_shortcut"):
        return _block(layer, f"downsample.conv.{leaf}")
    if found := re.fullmatch(r"stage\d+_block\d+_conv(\d)", layer):
        number = {4: ("1", "2", "2b", "3"), 3: ("1", "2", "3")}[convolutions][int(found[1]) - 1]
        return _block(layer, f"conv{number}.{leaf}")
    ends = {"stem": "stem.conv", "head": "head.fc"}
    return f"{ends.get(layer) or re.sub('^stem_', 'stem.', layer)}.{leaf}"


def _block(layer, rest):
    stage, block = re.match(r"stage(\d+)_block(\d+)", layer).groups()
    return f"stages.{int(stage) - 1}.{int(block) - 1}.{rest}"


def timm_name(path, paths):
    """timm's name of the variable `path` of a normalizer-free network whose variables are `paths`."""
    return _normalizer_free(path, 4 if "stage1_block1_conv4/kernel" in paths else 3)


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


def assign_timm(model, tensors):
    """Puts timm's tensors into a model of the zoo. Nothing is assigned unless everything fits.

    Args:
        model: a normalizer-free `keras.Model` of the zoo.
        tensors: {timm name: array}.

    Raises:
        UserError: a tensor is missing, left over, not finite or of the wrong shape; it is named.
    """
    variables = {v.path: v for v in model.variables if v.name != "seed_generator_state"}
    names = {timm_name(path, variables): path for path in variables}
    for name in names:
        if name not in tensors:
            raise UserError(f"The checkpoint has no tensor {name!r} for {names[name]!r}.{nearest(name, tensors)}")
    for name in tensors:
        if name not in names:
            raise UserError(f"The checkpoint's tensor {name!r} has no place in {model.name}.{nearest(name, names)}")
    arrays = {path: to_keras(tensors[name], variables[path].shape, name) for name, path in names.items()}
    for name, path in names.items():
        if not np.isfinite(arrays[path]).all():
            raise UserError(f"The checkpoint's tensor {name!r} holds values that are not finite.")
    for path, array in arrays.items():
        variables[path].assign(array)
