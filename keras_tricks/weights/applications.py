"""Converts weights between `keras.applications` and this zoo, for networks that compute the same function.

ResNets (layout A): Keras' have biases in their convolutions and a batch-norm epsilon of 1.001e-5. A bias before a batch
normalization only shifts the mean it subtracts; the difference in epsilon is moved into gamma. Inception-ResNet-v2
(`bn_scale=False`) and EfficientNets have the same weights in the same order.

Conversion does not change the expected images: the ResNets' are BGR minus the means of ImageNet, Inception-ResNet-v2's
are between -1 and 1. EfficientNets normalize inside the network in Keras; here they take images normalized with
ImageNet's mean and standard deviation, as all models of the zoo do.
"""

import re

import keras
import numpy as np

from keras_tricks.utils.errors import UserError

EPSILON, THEIRS = 1e-5, 1.001e-5
SAME_ORDER = ("conv_7b", "top_conv")  # layers of Keras' Inception-ResNet-v2 and of Keras' EfficientNets


def from_applications(model: keras.Model, theirs: keras.Model) -> None:
    """Copies the weights of a `keras.applications` model into a model of the zoo.

    Args:
        model: `kt.models.ResNet50`, `101`, `152`, `InceptionResNetV2(bn_scale=False)` or `EfficientNetRSB0` to `B7`
            with as many classes, or without the top.
        theirs: the `keras.applications` model.

    Raises:
        UserError: the two are not the same network.
    """
    if _in_the_same_order(model, theirs):
        for ours, value in zip(model.weights, _own_weights(theirs), strict=True):
            ours.assign(value)
        return
    _check(model, theirs)
    for ours, conv in _pairs(model, theirs):
        bias = keras.ops.convert_to_numpy(conv.bias)
        if isinstance(conv, keras.layers.Dense):
            ours.set_weights([conv.kernel, bias])
            continue
        norm, own_norm = theirs.get_layer(_norm(conv.name)), model.get_layer(f"{ours.name}_bn")
        gamma, beta, mean, variance = map(np.asarray, norm.get_weights())
        ours.set_weights([conv.kernel])
        own_norm.set_weights([gamma * np.sqrt((variance + EPSILON) / (variance + THEIRS)), beta, mean - bias, variance])


def to_applications(model: keras.Model, theirs: keras.Model) -> None:
    """The inverse of `from_applications`: copies weights of the zoo into a `keras.applications` model.

    The biases of Keras' ResNets become 0.
    """
    if _in_the_same_order(model, theirs):
        for value, weight in zip(model.weights, _own_weights(theirs), strict=True):
            weight.assign(value)
        return
    _check(model, theirs)
    for ours, conv in _pairs(model, theirs):
        if isinstance(conv, keras.layers.Dense):
            conv.set_weights(ours.get_weights())
            continue
        gamma, beta, mean, variance = map(np.asarray, model.get_layer(f"{ours.name}_bn").get_weights())
        conv.set_weights([ours.kernel, np.zeros(conv.bias.shape, "float32")])
        theirs.get_layer(_norm(conv.name)).set_weights(
            [gamma * np.sqrt((variance + THEIRS) / (variance + EPSILON)), beta, mean, variance])


def _in_the_same_order(model, theirs):
    if not any(layer.name in SAME_ORDER for layer in theirs.layers):
        return False
    if [w.shape for w in model.weights] != [w.shape for w in _own_weights(theirs)]:
        raise UserError(_mismatch(model, theirs))
    return True


def _own_weights(theirs):
    """The weights of Keras' model, without those that normalize pixels."""
    return [w for layer in theirs.layers if not isinstance(layer, keras.layers.Normalization) for w in layer.weights]


def _norm(name):
    return name.removesuffix("_conv") + "_bn"


def _pairs(model, theirs):
    """(our layer, Keras' layer) for all convolutions and the classifier."""
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            yield layer, theirs.get_layer(in_applications(layer.name))


def in_applications(name):
    """`stage2_block1_conv3` -> `conv3_block1_3_conv`; `..._shortcut` -> `..._0_conv`."""
    if name in ("stem", "head"):
        return {"stem": "conv1_conv", "head": "predictions"}[name]
    stage, block, part = re.fullmatch(r"stage(\d+)_block(\d+)_(conv\d|shortcut)", name).groups()
    return f"conv{int(stage) + 1}_block{block}_{part[-1] if part != 'shortcut' else 0}_conv"


def _check(model, theirs):
    def shapes(network):
        kinds = (keras.layers.Conv2D, keras.layers.Dense)
        return sorted(tuple(layer.kernel.shape) for layer in network.layers if isinstance(layer, kinds))

    if shapes(model) != shapes(theirs) or not any(layer.name == "conv1_conv" for layer in theirs.layers):
        raise UserError(_mismatch(model, theirs))


def _mismatch(model, theirs):
    return (f"{theirs.name} is not the `keras.applications` form of {model.name}: use ResNet50, 101 or 152, "
            "InceptionResNetV2 (bn_scale=False) or an EfficientNet on both sides, with as many classes.")
