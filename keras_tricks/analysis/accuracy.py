"""The result of an evaluation: accuracy class by class, and its confidence interval."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

Z_95 = 1.959964  # 97.5 % quantile of the normal distribution


def wilson_interval(successes: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927). It stays in [0, 1] and is valid for few examples.

    Args:
        successes: number of successes, 0 to `n`.
        n: number of trials. With 0 trials the interval is (0, 1).
        z: quantile of the normal distribution. Defaults to `1.959964`: 95 % confidence.

    Returns:
        (low, high), in [0, 1].
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(center - half, 0.0), min(center + half, 1.0)


class ClassCounts(keras.metrics.Metric):
    """Counts the images of each class and those classified correctly. `result` is the top-1 accuracy in [0, 1].

    Args:
        classes: integer, number of classes.

    Labels are float `(batch, classes)`, one-hot; predictions are logits or probabilities of the same shape. An image of
    weight 0 is not counted. After an evaluation `counts()` returns two integer arrays `(classes,)`: images, correct.
    """

    def __init__(self, classes: int, name: str | None = "class_counts", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.images = self.add_variable((classes,), "zeros", name="images")
        self.correct = self.add_variable((classes,), "zeros", name="correct")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        ops = keras.ops
        labels = ops.cast(y_true, self.images.dtype)
        if sample_weight is not None:
            labels = labels * ops.cast(ops.reshape(sample_weight, (-1, 1)), labels.dtype)
        right = ops.cast(ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1)), labels.dtype)
        self.images.assign_add(ops.sum(labels, axis=0))
        self.correct.assign_add(ops.sum(labels * right[:, None], axis=0))

    def result(self) -> Any:
        images = keras.ops.sum(self.images)
        return keras.ops.sum(self.correct) / keras.ops.maximum(images, 1.0)

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.rint(keras.ops.convert_to_numpy(v)).astype("int64") for v in (self.images, self.correct))


class BalancedAccuracy(ClassCounts):
    """The mean accuracy of the classes, each with the same weight. Arguments and labels as for `ClassCounts`."""

    def __init__(self, classes: int, name: str | None = "balanced_accuracy", **kwargs: Any) -> None:
        super().__init__(classes, name=name, **kwargs)

    def result(self) -> Any:
        ops = keras.ops
        images, correct = ops.convert_to_tensor(self.images), ops.convert_to_tensor(self.correct)
        seen = ops.cast(images > 0, images.dtype)
        shares = correct / ops.where(images > 0, images, 1.0)
        return ops.sum(shares) / ops.maximum(ops.sum(seen), 1.0)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        loss: float, mean over the images.
        top1: float in [0, 1]; with several labels an image, the share whose best class is one of them.
        top5: float in [0, 1], or `None` with several labels an image.
        class_names: names of the classes of the network, a tuple.
        images, correct: int64 arrays `(classes,)`, images of each class and those classified correctly; with several
            labels an image, those in which the class is found.
        broken: integer, images that could not be read and are not counted.
        map, f1: floats in [0, 1], mean average precision and macro F1 with several labels an image, else `None`.
        count: integer, number of images with several labels, else `None`.
    """

    loss: float
    top1: float
    top5: float | None
    class_names: tuple
    images: np.ndarray
    correct: np.ndarray
    broken: int = 0
    map: float | None = None
    f1: float | None = None
    count: int | None = None

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.images.sum()) if self.count is None else self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the top-1 accuracy (Wilson), in [0, 1]."""
        return wilson_interval(int(self.correct.sum()) if self.count is None else self.top1 * self.n, self.n)

    def worst(self, count: int = 5) -> list[tuple[str, float, int]]:
        """The classes with the lowest accuracy: a list of (name, accuracy in [0, 1], images)."""
        seen = [i for i in range(len(self.images)) if self.images[i]]
        seen.sort(key=lambda i: (self.correct[i] / self.images[i], i))
        return [(self.class_names[i], float(self.correct[i] / self.images[i]), int(self.images[i]))
                for i in seen[:count]]
