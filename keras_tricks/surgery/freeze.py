"""Freezes parts of a network for fine-tuning."""

from collections.abc import Sequence

import keras

from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.graph import NORMALIZATIONS, every_layer


def freeze(network: keras.Model, parts: Sequence[str], norms: bool = False) -> None:
    """Makes parts of a network untrainable; their normalization layers use the moving statistics without updating them.

    Args:
        network: built `keras.Model`. Parts are searched in it, in models inside it, and in layers inside layers.
        parts: names of parts: `"stage1"` selects the layer with that name and those whose names start with `stage1_`.
        norms: bool, whether to also freeze all normalization layers of the network. Defaults to `False`.

    Raises:
        UserError: the network is not built, lacks one of the parts, or nothing is left to train.
    """
    if not network.built:
        raise UserError(f"`freeze`: {network.name} is not built, so it has no variables yet: call it on a batch first.")
    layers = list(every_layer(network))
    for part in parts:
        found = [layer for layer in layers if layer.name == part or layer.name.startswith(f"{part}_")]
        if not found:
            models = [network, *(layer for layer in layers if isinstance(layer, keras.Model))]
            known = dict.fromkeys(layer.name.partition("_")[0] for model in models for layer in model.layers)
            raise UserError(f"`freeze`: {network.name} has no part {part!r}.{nearest(part, known)} "
                            f"It has: {', '.join(known)}.")
        for layer in found:
            layer.trainable = False
    if norms:
        for layer in layers:
            if isinstance(layer, NORMALIZATIONS):
                layer.trainable = False
    if not network.trainable_variables:
        raise UserError("`freeze` leaves nothing to train.")
