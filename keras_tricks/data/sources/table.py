"""The labelled examples of a source in one table, and how they are divided into training and validation."""

import dataclasses
import logging
import typing
from collections.abc import Callable, Sequence

import numpy as np

from keras_tricks.data.sources.label_sets import rarest_labels
from keras_tricks.data.sources.minival import split_off
from keras_tricks.data.sources.source import Source, Split, match_classes
from keras_tricks.utils.errors import UserError

HOLD_OUT = 10  # without a validation split, every tenth image of a class is held out

log = logging.getLogger("absl")


@dataclasses.dataclass(frozen=True)
class Table:
    """Examples that are read by number, before they are divided.

    Attributes:
        name: name of the source, for messages.
        class_names: names in label order, of all examples.
        labels: int32 `(n,)` or, with several labels an image, uint8 `(n, classes)`.
        in_validation: bool `(n,)`, or `None` if the source does not divide its examples.
        names: function of a number that gives a name, by which `data.minival` chooses examples.
        make: function `(numbers int64 (k,), their labels) -> Split`.
        fixed: bool, whether the source lists its classes, so that some may have no training image.
        remedy: how to give a validation split, for a message.
    """

    name: str
    class_names: Sequence[str]
    labels: np.ndarray
    in_validation: np.ndarray | None
    names: Callable[[int], str]
    make: Callable[[np.ndarray, np.ndarray], Split]
    fixed: bool = False
    remedy: str = ""

    def source(self, minival: float = 0.0) -> Source:
        """The `Source` with both splits; `minival` as for `open_source`.

        Without a validation split, every tenth image of each class is held out.

        Raises:
            UserError: no training image, none to validate on, or validation classes that are not trained.
        """
        numbers = np.arange(len(self.labels))
        training = numbers if self.in_validation is None else numbers[~self.in_validation]
        if not len(training):
            raise UserError(f"{self.name} has no training image.")
        names = self.class_names
        if not self.fixed:
            names = [name for name, is_used in zip(names, self._used(training), strict=True) if is_used]
        if minival:
            kept, held_out = split_off([self.names(int(i)) for i in training], minival)
            training, validation = training[kept], training[held_out]
        elif self.in_validation is not None:
            validation = numbers[self.in_validation]
        else:
            held_out = every_tenth(self.labels)
            training, validation = numbers[~held_out], numbers[held_out]
            if not len(validation):
                raise UserError(f"{self.name} has no validation images and no class of {HOLD_OUT} images, so none can "
                                f"be held out to validate on. {self.remedy}")
            log.info("%s has no validation images: every %dth image of each class is held out, %d of %d", self.name,
                     HOLD_OUT, len(validation), len(numbers))
        parts = [(part, self._relabelled(part, names, "training")) for part in (training, validation)]
        return Source(self.name, tuple(names), *(self.make(*part) for part in parts))

    def evaluation(self, class_names: Sequence[str] | None = None) -> Split:
        """The validation split, or all examples if there is none. Classes are matched by name.

        Args:
            class_names: classes in label order. Defaults to `None`, those of the table.

        Raises:
            UserError: a class that is not in `class_names`.
        """
        numbers = np.arange(len(self.labels))
        chosen = numbers if self.in_validation is None else numbers[self.in_validation]
        if not len(chosen):
            raise UserError(f"{self.name} has no validation image to evaluate on.")
        names = self.class_names if class_names is None else class_names
        log.info("evaluating %d images of %s", len(chosen), self.name)
        return self.make(chosen, self._relabelled(chosen, names, "the model"))

    def _used(self, numbers):
        labels = self.labels[numbers]
        return labels.any(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(self.class_names)) > 0

    def _relabelled(self, numbers, names, owner):
        """Labels of some examples in the list `names` of `owner`, which must have all their classes."""
        used = np.flatnonzero(self._used(numbers))
        places = np.full(len(self.class_names), -1, "int32")
        places[used] = match_classes([self.class_names[i] for i in used], names, self.name, owner)
        labels = self.labels[numbers]
        if labels.ndim == 1:
            return places[labels]
        moved = np.zeros((len(labels), len(names)), "uint8")
        moved[:, places[used]] = labels[:, used]
        return moved


def every_tenth(labels: np.ndarray) -> np.ndarray:
    """A bool array `(n,)`: the tenth, twentieth, ... example of each label, int32 `(n,)` or uint8 `(n, classes)`.

    An image with several labels counts as one of its rarest.
    """
    chosen = np.zeros(len(labels), bool)
    labels = rarest_labels(labels) if labels.ndim == 2 else labels
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[HOLD_OUT - 1 :: HOLD_OUT]] = True
    return chosen


class Column(typing.NamedTuple):
    """A column that a user may name: the recipe's key, the given name or `None`, and the usual name."""

    key: str
    given: str | None
    usual: str

    @property
    def name(self) -> str:
        return self.given or self.usual
