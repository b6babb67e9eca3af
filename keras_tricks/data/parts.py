"""Divides the rows of a global batch among processes, so that each of N processes does 1/N of the work.

A batch is a function of its step, so any process can make any of its rows. Each process makes an equal share. Mixing
combines row `j` with row `batch - 1 - j`. With mixing a share consists of such pairs, so that a process makes the
partners that it needs. If a share is odd, two processes make the same row.
"""

import dataclasses

import numpy as np

from keras_tricks.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one process in a global batch.

    Attributes:
        own: int64 `(n,)`, ascending row numbers on which it trains.
        made: int64 `(m,)`, ascending row numbers that it makes: its own, and their partners.
        batch_size: integer, rows of the global batch.
    """

    own: np.ndarray
    made: np.ndarray
    batch_size: int

    @property
    def whole(self):
        """Whether the process makes the global batch."""
        return len(self.own) == self.batch_size

    @property
    def places(self):
        """Indices of its own rows, and of their partners, among the rows it makes: two int64 `(n,)`."""
        return np.searchsorted(self.made, self.own), np.searchsorted(self.made, self.batch_size - 1 - self.own)


def rows_of_part(batch_size, part=0, parts=1, pairs=False):
    """The `Rows` of process `part` of `parts`.

    Args:
        batch_size: integer > 0, rows of the global batch.
        part: integer in [0, parts).
        parts: integer > 0, processes.
        pairs: bool, whether row `j` needs row `batch_size - 1 - j`.

    Raises:
        UserError: the batch cannot be divided among the processes.
    """
    if batch_size % parts:
        raise UserError(f"A batch of {batch_size} images cannot be divided among {parts} processes. Use a multiple of "
                        f"{parts}.")
    share = batch_size // parts
    rows = np.arange(batch_size)
    if pairs and parts > 1:
        rows = np.stack([rows, batch_size - 1 - rows], axis=1).reshape(-1)[:batch_size]  # 0, n - 1, 1, n - 2, ...
    own = np.sort(rows[part * share : (part + 1) * share])
    made = np.union1d(own, batch_size - 1 - own) if pairs else own
    return Rows(own, made, batch_size)
