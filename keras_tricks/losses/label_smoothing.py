"""Label smoothing for integer, one-hot and mixed labels.

Formula    "others":  q_y = 1 - eps, q_i = eps / (K - 1) for i != y          (the paper's text)
           "uniform": q_y = 1 - eps + eps / K, q_i = eps / K                  (gluon-cv, DeepMind, Keras, torch)
Paper      Szegedy et al. 2015, arXiv:1512.00567, section 7; He et al. 2018, arXiv:1812.01187, section 5.2 (eps 0.1)
Recipe     label_smoothing: loss.label_smoothing=0.1
Use when   the labels are clean and the classes many
Do not     smooth twice in distillation: smooth only the hard label
Cost       negligible
Differs    nothing; with K = 1000 the two conventions differ by eps / K = 1e-4 in a target
Status     used in recipes; no difference in short training on small images (docs/results/ablation, n = 3)
"""

from typing import Any

import keras

from keras_tricks.utils.errors import check_choice


def smooth_labels(labels: Any, label_smoothing: float = 0.1, smoothing: str = "others") -> Any:
    """Smooths one-hot or soft labels `(..., classes)` that sum to 1. Mixing and smoothing commute."""
    classes = labels.shape[-1]
    if classes < 2 and smoothing == "others":
        raise ValueError('Smoothing over the "others" needs 2 classes or more. Received: labels of shape '
                         f"{tuple(labels.shape)}")
    moved = label_smoothing * classes / (classes - 1) if smoothing == "others" else label_smoothing
    return labels * (1.0 - moved) + moved / classes


def one_hot_labels(y_true: Any, classes: int) -> Any:
    """Labels as float32 `(batch, classes)`: those that are class numbers become one-hot."""
    ops = keras.ops
    if len(y_true.shape) < 2 or y_true.shape[-1] != classes:
        y_true = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), classes)
    return ops.cast(y_true, "float32")


@keras.saving.register_keras_serializable(package="keras_tricks")
class LabelSmoothingCrossentropy(keras.losses.Loss):
    """Cross entropy with smoothed labels. Accepts integer labels, one-hot labels and labels mixed by mixup.

    Args:
        label_smoothing: float in [0, 1), the probability moved away from the label. Defaults to `0.1` (paper).
        smoothing: the classes that receive it: `"others"` (the other K - 1 classes, the paper's text) or `"uniform"`
            (all K, as in Keras and the paper's code). Defaults to `"others"`.
        from_logits: bool, whether `y_pred` are logits. Defaults to `False`, Keras' convention.
        reduction, name: as in Keras.

    Call arguments: `y_true` integers `(batch,)` or `(batch, 1)`, or floats `(batch, classes)`; `y_pred` floats
    `(batch, classes)`. The loss is computed in float32.
    """

    def __init__(self, label_smoothing: float = 0.1, smoothing: str = "others", from_logits: bool = False,
                 reduction: str | None = "sum_over_batch_size", name: str | None = "label_smoothing_crossentropy",
                 **kwargs: Any) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1). Received: label_smoothing={label_smoothing}")
        self.label_smoothing, self.from_logits = label_smoothing, from_logits
        self.smoothing = check_choice("smoothing", smoothing, ("others", "uniform"))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        y_pred = ops.cast(y_pred, "float32")
        targets = smooth_labels(one_hot_labels(y_true, y_pred.shape[-1]), self.label_smoothing, self.smoothing)
        return ops.categorical_crossentropy(targets, y_pred, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "smoothing": self.smoothing,
            "from_logits": self.from_logits,
        }
