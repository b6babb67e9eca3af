"""timm's names for the weights of the zoo: one table for each family.

A variable here has a path such as `stage2_block1_conv3/kernel`; timm's name is `layer2.0.conv3.weight`.
"""

import re

from keras_tricks.utils.errors import UserError

LEAVES = {"kernel": "weight", "bias": "bias", "gain": "gain", "gamma": "weight", "beta": "bias",
          "moving_mean": "running_mean", "moving_variance": "running_var"}

HEADS = ("fc.", "head.fc.", "classif.", "classifier.")  # timm's classifiers

# Ordered rules for the layer part of a path, with `stage2_block1` and EfficientNet's `block2a` shortened to `block`,
# EfficientNet's first stage to `first`: (pattern, timm's form). {stage}, {block} and named groups count from 0.
NORMALIZER_FREE = (
    (r"stem", "stem.conv"),
    (r"stem_(conv\d)", r"stem.\1"),
    (r"block_shortcut", "stages.{stage}.{block}.downsample.conv"),
    (r"block_conv(\d)", r"stages.{stage}.{block}.conv\1"),
    (r"block_se/(fc\d)", r"stages.{stage}.{block}.attn_last.\1"),
    (r"block_skip_gain", "stages.{stage}.{block}.skipinit"),
    (r"final_conv", "final_conv"),
    (r"head", "head.fc"),
)
NFNET = (  # conv1, conv2, conv2b, conv3 in timm
    (r"block_conv3", "stages.{stage}.{block}.conv2b"),
    (r"block_conv4", "stages.{stage}.{block}.conv3"),
    *NORMALIZER_FREE,
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
    (r"block_conv(\d)", r"layer{layer}.{block}.conv\1"),
    (r"block_conv(\d)_bn", r"layer{layer}.{block}.bn\1"),
    (r"block_se/(fc\d)", r"layer{layer}.{block}.se.\1"),
    (r"block_shortcut", "layer{layer}.{block}.downsample.0"),
    (r"block_shortcut_bn", "layer{layer}.{block}.downsample.1"),
    (r"block_shortcut/conv", "layer{layer}.{block}.downsample.1"),  # layout D: 0 is the average pooling
    (r"block_shortcut/bn", "layer{layer}.{block}.downsample.2"),
    (r"head", "fc"),
)
INCEPTION_RESNET = (  # `_module` appends .conv to the name of a convolution and .bn to that of its batch norm
    (r"stem_conv1", "conv2d_1a"),
    (r"stem_conv2", "conv2d_2a"),
    (r"stem_conv3", "conv2d_2b"),
    (r"stem_conv4", "conv2d_3b"),
    (r"stem_conv5", "conv2d_4a"),
    (r"final_conv", "conv2d_7b"),
    (r"stem_mixed_branch1_conv1", "mixed_5b.branch0"),
    (r"stem_mixed_branch4_conv1", "mixed_5b.branch3.1"),  # 0 is the average pooling
    (r"stem_mixed_branch(?P<branch>\d)_conv(?P<conv>\d)", "mixed_5b.branch{branch}.{conv}"),
    (r"stage2_reduction_branch1_conv1", "mixed_6a.branch0"),
    (r"stage2_reduction_branch(?P<branch>\d)_conv(?P<conv>\d)", "mixed_6a.branch{branch}.{conv}"),
    (r"stage3_reduction_branch(?P<branch>\d)_conv(?P<conv>\d)", "mixed_7a.branch{branch}.{conv}"),
    (r"block_branch1_conv1", "{repeat}.branch0"),
    (r"block_branch(?P<branch>\d)_conv(?P<conv>\d)", "{repeat}.branch{branch}.{conv}"),
    (r"block_up", "{repeat}.conv2d"),
    (r"head", "classif"),
)
EFFICIENTNET = (
    (r"stem_conv", "conv_stem"),
    (r"stem_bn", "bn1"),
    (r"(?:first|block)_se_(reduce|expand)", r"blocks.{stage}.{block}.se.conv_\1"),
    (r"(?:first|block)_dwconv", "blocks.{stage}.{block}.conv_dw"),
    (r"first_bn", "blocks.{stage}.{block}.bn1"),
    (r"first_project_conv", "blocks.{stage}.{block}.conv_pw"),
    (r"first_project_bn", "blocks.{stage}.{block}.bn2"),
    (r"block_expand_conv", "blocks.{stage}.{block}.conv_pw"),
    (r"block_expand_bn", "blocks.{stage}.{block}.bn1"),
    (r"block_bn", "blocks.{stage}.{block}.bn2"),
    (r"block_project_conv", "blocks.{stage}.{block}.conv_pwl"),
    (r"block_project_bn", "blocks.{stage}.{block}.bn3"),
    (r"top_conv", "conv_head"),
    (r"top_bn", "bn2"),
    (r"head", "classifier"),
)
FAMILIES = (  # the first one whose variable the model has
    ("stage1_block1_branch1_conv1/kernel", INCEPTION_RESNET),
    ("block1a_dwconv/kernel", EFFICIENTNET),
    ("stage1_block1_conv4/gain", NFNET),
    ("stage1_block1_conv1/gain", NORMALIZER_FREE),
    ("stage1_block1_conv1/kernel", RESNET),
)


def timm_name(path, paths):
    """timm's name of the variable at `path` in a model with variables at `paths`.

    Raises:
        UserError: the family of the model is not in timm.
    """
    layer, _, leaf = path.rpartition("/")
    rules = next((rules for variable, rules in FAMILIES if variable in paths), ())
    module = _module(layer, rules)
    if module is None or leaf not in LEAVES:
        raise UserError(f"timm has no name for the variable {path!r}: there is no converter for its family.")
    return f"{module}_gain" if module.endswith("skipinit") else f"{module}.{LEAVES[leaf]}"


def _module(layer, rules):
    """timm's name of the module of a layer, or `None`."""
    part = layer.removesuffix("_bn") if rules is INCEPTION_RESNET else layer
    short, stage, block = _position(part)
    for pattern, form in rules:
        if match := re.fullmatch(pattern, short):
            repeat = "block8" if (stage, block) == (2, 9) else f"repeat{f'_{stage}' if stage else ''}.{block}"
            counted = {name: int(number) - 1 for name, number in match.groupdict().items()}
            counted |= {"stage": stage, "block": block, "layer": (stage or 0) + 1, "repeat": repeat}
            module = match.expand(form).format(**counted)
            if rules is INCEPTION_RESNET and not short.endswith(("_up", "head")):
                return f"{module}.{'bn' if part != layer else 'conv'}"
            return module
    return None


def _position(layer):
    """`("block_conv3", 1, 0)` for `stage2_block1_conv3`; outside the stages the position is `None`."""
    if match := re.match(r"stage(\d+)_block(\d+)", layer):
        return f"block{layer[match.end():]}", int(match[1]) - 1, int(match[2]) - 1
    if match := re.match(r"block(\d)([a-z])", layer):
        kind = "first" if match[1] == "1" else "block"
        return f"{kind}{layer[match.end():]}", int(match[1]) - 1, ord(match[2]) - ord("a")
    return layer, None, None


def zoo_name(architecture):
    """The name here of a timm architecture: `resnet50` -> `resnet50b`, `resnetrs50` -> `resnet_rs50`.

    timm's ResNets without a letter have the layout B. A name of another family is returned unchanged.
    """
    for pattern, form in (
        (r"resnet(50|101|152|200)", r"resnet\1b"),
        (r"resnetrs(\d+)", r"resnet_rs\1"),
        (r"dm_(nfnet_f\d)", r"\1"),
        (r"tf_efficientnet_(b[0-7])", r"efficientnet_rs_\1"),
    ):
        if re.fullmatch(pattern, architecture):
            return re.sub(pattern, form, architecture)
    return architecture
