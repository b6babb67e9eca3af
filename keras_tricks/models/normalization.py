"""Which batch normalization a network is built with: plain, synchronized or ghost."""

from keras_tricks.layers import BatchNormalization, GhostBatchNormalization
from keras_tricks.utils.errors import UserError


def normalization(sync_bn=False, ghost_batch_size=None, **arguments):
    """An unbuilt layer.

    Args:
        sync_bn: bool, statistics over all replicas.
        ghost_batch_size: integer, statistics over groups of so many images, or `None`.
        **arguments: of `keras.layers.BatchNormalization`.

    Raises:
        UserError: both at once.
    """
    if sync_bn and ghost_batch_size:
        raise UserError("`sync_bn` and `ghost_batch_size` contradict each other: larger or smaller statistics?")
    if ghost_batch_size:
        return GhostBatchNormalization(ghost_batch_size, **arguments)
    return BatchNormalization(synchronized=sync_bn, **arguments)
