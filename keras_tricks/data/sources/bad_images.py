"""The broken images of a split, up to a limit."""

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable


class TooManyBadImages(UserError):
    """More broken images than `data.max_bad_images` allows."""


class BadImages:
    """The broken images of a split and the reasons why they cannot be read.

    Attributes:
        limit: integer, number of broken images allowed.
        total: integer, images of the split, or `None` if unknown.
        reasons: {path: reason}.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total: int | None = None
        self.reasons: dict[str, str] = {}

    def add(self, path: str, reason: str) -> None:
        """Records a broken image. Raises as `check` does."""
        self.reasons.setdefault(path, reason)
        self.check()

    def check(self) -> None:
        """Raises `TooManyBadImages`, with the first names, if more images are broken than allowed, or all are."""
        shown = "; ".join(f"{printable(p)} ({r})" for p, r in list(self.reasons.items())[:10])
        if len(self.reasons) == self.total:
            raise TooManyBadImages(f"None of the {self.total} images of the split can be read: {shown}.")
        if len(self.reasons) > self.limit:
            raise TooManyBadImages(
                f"{len(self.reasons)} images cannot be read, more than `data.max_bad_images`={self.limit}: {shown}. "
                "Remove or replace them, or allow more with --set data.max_bad_images=N."
            )
