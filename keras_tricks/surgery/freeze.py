"""Parts of a network that stay as they are while the rest is trained: fine-tuning."""

from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.graph import NORMALIZATIONS, every_layer


def freeze(network, parts, norms=False):
    """Makes parts of a network untrainable; normalization in them uses its statistics and keeps them.

    Args:
        network: `keras.Model`.
        parts: names: `"stage1"` means every layer of that name or beginning with `stage1_`.
        norms: bool, all normalization layers of the network, too.

    Raises:
        UserError: a part the network does not have, or nothing would be left to train.
    """
    for part in parts:
        found = [layer for layer in network.layers if layer.name == part or layer.name.startswith(f"{part}_")]
        if not found:
            known = dict.fromkeys(layer.name.partition("_")[0] for layer in network.layers)
            raise UserError(f"`freeze`: {network.name} has no part {part!r}.{nearest(part, known)} "
                            f"It has: {', '.join(known)}.")
        for layer in found:
            layer.trainable = False
    if norms:
        for layer in every_layer(network):
            if isinstance(layer, NORMALIZATIONS):
                layer.trainable = False
    if not network.trainable_variables:
        raise UserError("`freeze` leaves nothing to train.")
