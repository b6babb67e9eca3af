"""Chooses the batch normalization of a network: plain, synchronized or ghost."""

from keras_tricks.layers import BatchNormalization, GhostBatchNormalization
from keras_tricks.utils.errors import UserError


def normalization(sync_bn=False, ghost_batch_size=None, **arguments):
    """An unbuilt batch-normalization layer.

    Args:
        sync_bn: bool, whether statistics cover all replicas. Defaults to `False`.
        ghost_batch_size: integer, images per group of statistics, or `None`. Defaults to `None`.
        **arguments: other arguments of `keras.layers.BatchNormalization`.

    Raises:
        UserError: both `sync_bn` and `ghost_batch_size`.
    """
    if sync_bn and ghost_batch_size:
        raise UserError("`sync_bn` and `ghost_batch_size` contradict each other: set only one of them.")
    if ghost_batch_size:
        return GhostBatchNormalization(ghost_batch_size, **arguments)
    return BatchNormalization(synchronized=sync_bn, **arguments)
