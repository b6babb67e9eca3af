"""Metrics of images with several labels: mean average precision, F1, and the best class.

Labels are float `(batch, classes)`, 0 and 1; predictions are logits of the same shape. An image of weight 0 does not
count. All are sums over images, so that replicas and processes add up to one device.
"""

from typing import Any

import keras
import numpy as np

from keras_tricks.analysis.accuracy import ClassCounts

BINS, RANGE = 2048, 16.0  # bins of logits in [-16, 16], each 1/64 wide


def _weights(sample_weight, dtype):
    return 1.0 if sample_weight is None else keras.ops.cast(keras.ops.reshape(sample_weight, (-1, 1)), dtype)


@keras.saving.register_keras_serializable(package="keras_tricks")
class MeanAveragePrecision(keras.metrics.Metric):
    """The mean over the classes of the average precision, in [0, 1]. Classes without a positive image do not count.

    The average precision is the sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation, as scikit-learn's
    `average_precision_score`. Logits are counted in bins of 1/64, and logits in one bin are a tie. Two arrays of 2,048
    numbers for each class are kept, which is exact to the width of a bin for any number of images.

    Args:
        classes: integer, number of classes.
    """

    def __init__(self, classes: int, name: str | None = "map", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.positives = self.add_variable((classes, BINS), "zeros", name="positives")
        self.negatives = self.add_variable((classes, BINS), "zeros", name="negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        ops, dtype = keras.ops, self.positives.dtype
        labels, weights = ops.cast(y_true, dtype), _weights(sample_weight, dtype)
        scaled = ops.floor((ops.cast(y_pred, "float32") + RANGE) * (BINS / (2 * RANGE)))
        bins = ops.cast(ops.clip(scaled, 0, BINS - 1), "int32")
        places = ops.reshape(bins + BINS * ops.arange(self.classes, dtype="int32"), (-1,))
        for variable, values in ((self.positives, weights * labels), (self.negatives, weights * (1.0 - labels))):
            counts = ops.segment_sum(ops.reshape(values, (-1,)), places, num_segments=self.classes * BINS)
            variable.assign_add(ops.reshape(counts, (self.classes, BINS)))

    def result(self) -> Any:
        ops = keras.ops
        positives, negatives = (ops.flip(ops.convert_to_tensor(v), axis=1) for v in (self.positives, self.negatives))
        found = ops.cumsum(positives, axis=1)
        precision = found / ops.maximum(found + ops.cumsum(negatives, axis=1), 1e-9)
        total = found[:, -1]
        average = ops.sum(positives * precision, axis=1) / ops.maximum(total, 1e-9)
        seen = ops.cast(total > 0, average.dtype)
        return ops.sum(average * seen) / ops.maximum(ops.sum(seen), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="keras_tricks")
class MacroF1(keras.metrics.Metric):
    """The mean over the classes of F1 = 2 TP / (2 TP + FP + FN), in [0, 1], of the classes above a probability of 0.5.

    Equal to `keras.metrics.F1Score(average="macro", threshold=0.5)`, which takes probabilities and makes its variables
    late. A class that is neither there nor predicted has an F1 of 0, as in scikit-learn.

    Args:
        classes: integer, number of classes.
    """

    def __init__(self, classes: int, name: str | None = "f1", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.right, self.predicted, self.positives = (
            self.add_variable((classes,), "zeros", name=part) for part in ("right", "predicted", "positives"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        ops, dtype = keras.ops, self.right.dtype
        labels, weights = ops.cast(y_true, dtype), _weights(sample_weight, dtype)
        predicted = weights * ops.cast(y_pred > 0, dtype)
        self.right.assign_add(ops.sum(labels * predicted, axis=0))
        self.predicted.assign_add(ops.sum(predicted, axis=0))
        self.positives.assign_add(ops.sum(weights * labels, axis=0))

    def result(self) -> Any:
        ops = keras.ops
        right, predicted, positives = map(ops.convert_to_tensor, (self.right, self.predicted, self.positives))
        return ops.mean(2.0 * right / ops.maximum(predicted + positives, 1e-9))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


def is_best_right(y_true: Any, y_pred: Any) -> Any:
    """Whether the class with the largest output is one of the labels of the image: float `(batch,)`.

    With one label an image it is the top-1 accuracy. Of mixed labels it is the share of that class.
    """
    best = keras.ops.one_hot(keras.ops.argmax(y_pred, axis=-1), y_pred.shape[-1], dtype=y_true.dtype)
    return keras.ops.sum(best * y_true, axis=-1)


class LabelCounts(ClassCounts):
    """Counts, for each class, the images that have it and those of them in which it is found, above 0.5.

    Arguments and `counts` as for `ClassCounts`; `total()` is the number of images.
    """

    def __init__(self, classes: int, name: str | None = "label_counts", **kwargs: Any) -> None:
        super().__init__(classes, name=name, **kwargs)
        self.all_images = self.add_variable((), "zeros", name="all_images")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        ops, dtype = keras.ops, self.images.dtype
        labels = ops.cast(y_true, dtype) * _weights(sample_weight, dtype)
        self.images.assign_add(ops.sum(labels, axis=0))
        self.correct.assign_add(ops.sum(labels * ops.cast(y_pred > 0, dtype), axis=0))
        weight = ops.ones(ops.shape(y_true)[:1], dtype) if sample_weight is None else ops.cast(sample_weight, dtype)
        self.all_images.assign_add(ops.sum(weight))

    def total(self) -> int:
        return int(np.rint(keras.ops.convert_to_numpy(self.all_images)))
