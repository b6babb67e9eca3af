"""Class weights: errors on rare classes count more.

Formula    loss = -sum_c w_c q_c log p_c;  q the label, mixed and smoothed; "balanced": w_c = N / (K n_c)
Paper      King and Zeng 2001, Logistic Regression in Rare Events Data; not used in the papers of the recipes
Recipe     class_weight: loss.class_weight=balanced
Use when   some classes have far fewer images, and the accuracy of each class counts, not that of each image
Do not     judge it by top-1, which falls when rare classes gain: see `val_balanced_accuracy`
Cost       negligible
Differs    Keras' `class_weight` multiplies the loss of an image by the weight of its largest label; here each label of
           a mixed or smoothed image has its weight. Equal for one-hot labels. The mean is over images, not over the
           sum of weights as in torch, so that a batch on N replicas has the loss of one device
Status     not reproduced
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks.losses.label_smoothing import LabelSmoothingCrossentropy, one_hot_labels, smooth_labels


def balanced_class_weights(counts: Sequence[int]) -> list[float]:
    """`N / (K n_c)`, as scikit-learn's "balanced". The mean weight of an image is 1.

    Args:
        counts: integers >= 0, images of each class. A class without images has the weight 1.

    Returns:
        A list of floats, one for each class.
    """
    counts = np.asarray(counts)
    seen = counts > 0
    return np.where(seen, counts.sum() / (seen.sum() * np.maximum(counts, 1)), 1.0).tolist()


@keras.saving.register_keras_serializable(package="keras_tricks")
class ClassWeightedCrossentropy(LabelSmoothingCrossentropy):
    """Cross entropy with smoothed labels and a weight for each class.

    Args:
        class_weight: sequence of floats >= 0, the weight of each class.
        label_smoothing, smoothing, from_logits: as for `LabelSmoothingCrossentropy`. Labels are smoothed first.
        reduction, name: as in Keras.

    Call arguments: as those of `LabelSmoothingCrossentropy`.
    """

    def __init__(self, class_weight: Sequence[float], label_smoothing: float = 0.0, smoothing: str = "others",
                 from_logits: bool = False, reduction: str | None = "sum_over_batch_size",
                 name: str | None = "class_weighted_crossentropy", **kwargs: Any) -> None:
        super().__init__(label_smoothing, smoothing, from_logits, reduction, name, **kwargs)
        self.class_weight = [float(weight) for weight in class_weight]
        if not self.class_weight or not all(0 <= weight < float("inf") for weight in self.class_weight):
            raise ValueError(f"`class_weight` must be finite numbers >= 0. Received: {self.class_weight}")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        y_pred = ops.cast(y_pred, "float32")
        if y_pred.shape[-1] != len(self.class_weight):
            raise ValueError(f"`class_weight` has {len(self.class_weight)} weights for {y_pred.shape[-1]} classes.")
        targets = smooth_labels(one_hot_labels(y_true, y_pred.shape[-1]), self.label_smoothing, self.smoothing)
        # TensorFlow's fused cross entropy has a wrong gradient for targets that do not sum to 1.
        logs = ops.log_softmax(y_pred) if self.from_logits else ops.log(ops.maximum(y_pred, keras.config.epsilon()))
        return -ops.sum(targets * ops.convert_to_tensor(self.class_weight, "float32") * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weight": list(self.class_weight)}
