"""Binary cross entropy: each class is a question of yes or no, also on labels mixed by mixup and CutMix.

Formula    mean over the classes of -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z));  t are the labels, smoothed, and
           with `target_threshold` t <- 1 where t > threshold, else 0
Paper      Wightman et al. 2021, arXiv:2110.00476, section 2 (ResNet strikes back)
Recipe     binary_crossentropy: loss.name=binary_crossentropy
Use when   labels are mixed: an image of two objects then has both classes; always with `data.multi_label=true`
Do not     keep the learning rate of a cross entropy: the mean over K classes makes gradients about K times smaller,
           which LAMB ignores and SGD does not. `sum_classes=True` sums them
Cost       negligible
Differs    nothing from timm's `BinaryCrossEntropy`, which leaves the smoothing of mixed labels to its mixup. Networks
           are exported with a softmax, which has the same order of classes, or with `data.multi_label` with a sigmoid
Status     equal to timm (tests/losses); not measured here
"""

from typing import Any

import keras

from keras_tricks.losses.label_smoothing import one_hot_labels, smooth_labels
from keras_tricks.utils.errors import UserError, check_choice


def binary_targets(labels: Any, target_threshold: float | None) -> Any:
    """Labels above `target_threshold` become 1 and others 0; `None` leaves them unchanged."""
    return labels if target_threshold is None else keras.ops.cast(labels > target_threshold, labels.dtype)


@keras.saving.register_keras_serializable(package="keras_tricks")
class BinaryCrossentropy(keras.losses.Loss):
    """Binary cross entropy over all classes. Accepts integer labels, one-hot labels and labels mixed by mixup.

    Args:
        label_smoothing: float in [0, 1). Defaults to `0.0` (paper: 0.1 in A1, none in A2 and A3).
        smoothing: as in `LabelSmoothingCrossentropy`. Defaults to `"uniform"` (timm).
        target_threshold: float in [0, 1), above which a smoothed label counts as 1, or `None`. Defaults to `None`.
        sum_classes: bool, sum over the classes instead of the mean. Defaults to `False` (paper).
        from_logits: bool, whether `y_pred` are logits. Defaults to `False`, Keras' convention.
        reduction, name: as in Keras.

    Call arguments: `y_true` integers `(batch,)` or `(batch, 1)`, or floats `(batch, classes)`; `y_pred` floats
    `(batch, classes)`. The loss is computed in float32.

    Raises:
        UserError: `label_smoothing` or `target_threshold` is out of range.
    """

    def __init__(self, label_smoothing: float = 0.0, smoothing: str = "uniform", target_threshold: float | None = None,
                 sum_classes: bool = False, from_logits: bool = False, reduction: str | None = "sum_over_batch_size",
                 name: str | None = "binary_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"`label_smoothing` must be in [0, 1). Received: {label_smoothing}")
        if target_threshold is not None and not 0 <= target_threshold < 1:
            raise UserError(f"`target_threshold` must be in [0, 1) or None. Received: {target_threshold}")
        self.label_smoothing, self.target_threshold = label_smoothing, target_threshold
        self.smoothing = check_choice("smoothing", smoothing, ("others", "uniform"))
        self.sum_classes, self.from_logits = sum_classes, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        y_pred = ops.cast(y_pred, "float32")
        targets = smooth_labels(one_hot_labels(y_true, y_pred.shape[-1]), self.label_smoothing, self.smoothing)
        targets = binary_targets(targets, self.target_threshold)
        each = ops.binary_crossentropy(targets, y_pred, from_logits=self.from_logits)
        return ops.sum(each, axis=-1) if self.sum_classes else ops.mean(each, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "smoothing": self.smoothing,
            "target_threshold": self.target_threshold,
            "sum_classes": self.sum_classes,
            "from_logits": self.from_logits,
        }
