"""Knowledge distillation: a student learns from the labels and from the softened output of a teacher.

Formula    loss(p, softmax(z)) + T^2 * CE(softmax(r / T), softmax(z / T));  z student, r teacher logits
Paper      Hinton et al. 2015, arXiv:1503.02531; He et al. 2018, arXiv:1812.01187, section 5.3 (T = 20)
Recipe     distillation: loss.teacher=resnet152d
Use when   teacher and student belong to one family: ResNet-152-D for ResNet-50-D
Do not     distil from another family: Inception-v3 and MobileNet lost accuracy (paper, table 6)
Cost       one forward pass of the teacher per step
Differs    the paper adds both terms unweighted, as here; its code (gluon-cv) gives each the weight 0.5, which is
           `hard_weight=soft_weight=0.5`. `keras.distillation.Distiller` uses the weights (w, 1 - w) and clips logits
           that are probabilities; it cannot express the paper's sum
Status     in recipes; reproduced on small images (docs/results/ablation, n = 3); ImageNet results not reproduced here
"""

from typing import Any

import keras


def distillation_loss(student_logits: Any, teacher_logits: Any, temperature: float = 20.0) -> Any:
    """`T^2 * CE(softmax(r / T), softmax(z / T))` for each image.

    Args:
        student_logits, teacher_logits: float tensors `(batch, classes)`.
        temperature: float > 0. Defaults to `20.0` (paper).

    Returns:
        float32 `(batch,)`.
    """
    ops = keras.ops
    targets = ops.softmax(ops.cast(teacher_logits, "float32") / temperature)
    log_student = ops.log_softmax(ops.cast(student_logits, "float32") / temperature)
    return -(temperature**2) * ops.sum(targets * log_student, axis=-1)


@keras.saving.register_keras_serializable(package="keras_tricks")
class Distiller(keras.Model):
    """Trains `student` with `fit`. The teacher sees the same (mixed) images, in inference mode, and is not trained.

    Args:
        student: `keras.Model` that returns logits.
        teacher: trained `keras.Model` that returns logits for the same images and classes.
        temperature: float > 0. Defaults to `20.0` (paper).
        hard_weight, soft_weight: floats >= 0, weights of the label term and of the teacher term. Default to `1.0`
            (paper).

    `compile` takes the loss of the label term (`from_logits=True`). Calling the distiller calls the student.
    """

    def __init__(self, student: keras.Model, teacher: keras.Model, temperature: float = 20.0, hard_weight: float = 1.0,
                 soft_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.student, self.teacher = student, teacher
        self.temperature, self.hard_weight, self.soft_weight = temperature, hard_weight, soft_weight
        self.teacher.trainable = False

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.student(inputs, training=training)

    def build(self, input_shape: Any) -> None:
        if not self.student.built:
            self.student.build(input_shape)
        self.built = True

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
                     training: bool = True) -> Any:
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return hard
        soft = distillation_loss(y_pred, keras.ops.stop_gradient(self.teacher(x, training=False)), self.temperature)
        return self.hard_weight * hard + self.soft_weight * keras.ops.mean(soft)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "student": serialize(self.student),
            "teacher": serialize(self.teacher),
            "temperature": self.temperature,
            "hard_weight": self.hard_weight,
            "soft_weight": self.soft_weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Distiller":
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        models = {k: deserialize(config.pop(k), custom_objects) for k in ("student", "teacher")}
        return cls(**models, **config)


def trained_network(model: keras.Model) -> keras.Model:
    """The network that `fit` trains and a file holds.

    That is the student of a distiller, ours or Keras', the model inside `kt.optimizers.SharpnessAware`, or the model.
    """
    if isinstance(model, (Distiller, keras.distillation.Distiller)):
        return model.student
    return getattr(model, "inner_model", model)
