"""Sharpness-aware minimization (SAM): the gradient at the worst point near the weights.

Formula    w <- update(w, grad L(w + e)),  e = rho * g / ||g||,  g = grad L(w), norm over all weights together
Paper      Foret et al. 2020, arXiv:2010.01412; NFNet-F5 and F6: Brock et al. 2021, arXiv:2102.06171, appendix A
Recipe     sharpness_aware: optimizer.sam_rho=0.05
Use when   a large network overfits, and twice the time of a step is affordable
Do not     accumulate gradients: each micro-batch would have its own worst point, so this is refused
Cost       a second forward and backward pass, over one image in `stride`; no further weights are kept
Differs    the paper leaves open where batch statistics and random masks come from: here both passes use the same masks,
           and the statistics are those of the second. NFNets take g from a fifth of each replica's images without a sum
           over replicas; here g is the sum, so N replicas train as one device
Status     equal to the formula over 20 steps in NumPy (tests/optimizers), on 1, 2 and 4 replicas (tests/contracts)
"""

import types
from typing import Any

import keras

from keras_tricks.optimizers.gradient_accumulation import GradientAccumulation
from keras_tricks.optimizers.wrapper import nested, sum_over_replicas
from keras_tricks.utils.backend import batch_is_divided, gradients_of, number_of_replicas, on_tensorflow
from keras_tricks.utils.errors import UserError


def sharpness_perturbation(gradients: list[Any], rho: float = 0.05) -> list[Any]:
    """`rho * g / ||g||`, the norm over all tensors together; zeros if the gradient is zero.

    Args:
        gradients: list of float tensors.
        rho: float > 0, the norm of the result. Defaults to `0.05` (paper).

    Returns:
        A list of tensors, shaped as `gradients`.
    """
    ops = keras.ops
    squares = sum(ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients)
    norm = ops.sqrt(squares)
    # Zero only for a zero gradient: a gradient that is not finite shall reach the weights' check.
    scale = ops.where(ops.equal(norm, 0.0), 0.0, rho / ops.where(ops.equal(norm, 0.0), 1.0, norm))
    return [g * ops.cast(scale, g.dtype) for g in gradients]


def check_stride(stride: int, images: int) -> None:
    """Raises a `UserError` unless `stride` divides the images of a replica: several would choose other images."""
    if images % stride:
        raise UserError(f"The stride {stride} of SharpnessAware (optimizer.sam_stride) does not divide the {images} "
                        "images of a replica: choose one that does.")


@keras.saving.register_keras_serializable(package="keras_tricks")
class SharpnessAware(keras.Model):
    """Trains `inner_model` with `fit`, each step with the gradient at the worst point within `rho` of the weights.

    Args:
        inner_model: `keras.Model` with one input and one output. Calling this model calls it.
        rho: float > 0, distance of the point. Defaults to `0.05` (paper).
        stride: integer > 0, the point is found with every `stride`-th image of a batch. It must divide the images of a
            replica. Defaults to `1`, all images (paper).

    Losses and metrics of a training step are those at the perturbed weights. Losses of layers (`add_loss`,
    regularizers) do not shift the point. Compile it with any optimizer but one that accumulates gradients.

    Raises:
        UserError: `rho` or `stride` is out of range; in `compile`, an optimizer that accumulates; in `fit`, a `stride`
            that does not divide the images of a replica.
    """

    def __init__(self, inner_model: keras.Model, rho: float = 0.05, stride: int = 1, **kwargs: Any) -> None:
        if not 0 < rho < float("inf"):
            raise UserError(f"`rho` of SharpnessAware must be a number > 0. Received: {rho}")
        if int(stride) != stride or stride < 1:
            raise UserError(f"`stride` of SharpnessAware must be an integer >= 1. Received: {stride}")
        super().__init__(**{"dtype": "float32", **kwargs})  # only the layers of the model inside choose a precision
        self.inner_model, self.rho, self.stride = inner_model, float(rho), int(stride)
        self.step = types.SimpleNamespace(batch=None)  # the step that is traced; Keras would track a plain attribute

    def compile(self, optimizer: Any = "rmsprop", *args: Any, **kwargs: Any) -> None:
        for found in nested(keras.optimizers.get(optimizer)):
            if isinstance(found, GradientAccumulation) or found.gradient_accumulation_steps:
                raise UserError("SharpnessAware (optimizer.sam_rho) does not accumulate gradients: every micro-batch "
                                "would be perturbed for itself. Set optimizer.accumulation_steps=1 and leave out "
                                "train.max_batch_per_replica, or set optimizer.sam_rho=0.")
        super().compile(optimizer, *args, **kwargs)

    def build(self, input_shape: Any) -> None:
        if not self.inner_model.built:
            self.inner_model.build(input_shape)
        self.built = True

    def train_step(self, *arguments: Any) -> Any:
        """As in Keras: `(data)`, on JAX `(state, data)`."""
        self.step.batch = keras.utils.unpack_x_y_sample_weight(arguments[-1])
        try:
            return super().train_step(*arguments)
        finally:
            self.step.batch = None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.step.batch is None:
            return self.inner_model(inputs, training=training)
        model = self.inner_model
        weights = [keras.ops.convert_to_tensor(v) for v in model.trainable_variables]
        others = [(v, keras.ops.convert_to_tensor(v)) for v in model.non_trainable_variables]
        shifts = self._perturbation(weights, others)
        point = [w + keras.ops.stop_gradient(e) for w, e in zip(weights, shifts, strict=True)]
        outputs, changed = self._at(point, others, inputs)
        for variable, value in changed:
            variable.assign(value)
        return outputs

    def _at(self, weights, others, inputs):
        """The outputs of the inner model at other weights, and the (variable, value) that it would change."""
        trained = zip(self.inner_model.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=[*trained, *others]) as scope:
            before = [scope.get_current_value(v) for v, _ in others]
            outputs = self.inner_model(inputs, training=True)
        after = [scope.get_current_value(v) for v, _ in others]
        return outputs, [(v, new) for (v, _), old, new in zip(others, before, after, strict=True) if new is not old]

    def _perturbation(self, weights, others):
        size = keras.ops.shape(keras.tree.flatten(self.step.batch[0])[0])[0]
        if isinstance(size, int):
            check_stride(self.stride, size if batch_is_divided() else size // number_of_replicas())
        x, y, sample_weight = (None if part is None else keras.tree.map_structure(lambda t: t[::self.stride], part)
                               for part in self.step.batch)

        def loss(values):
            outputs, _ = self._at(values, others, x)
            found = self.compute_loss(x, y, outputs, sample_weight, training=True)
            # Against underflow in float16; the scale cancels in the norm. On JAX it is not in the state of this call.
            return self.optimizer.scale_loss(found) if on_tensorflow() else found

        gradients = gradients_of(loss, [keras.ops.stop_gradient(w) for w in weights])
        return sharpness_perturbation(sum_over_replicas(gradients), self.rho)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner_model": keras.saving.serialize_keras_object(self.inner_model),
                "rho": self.rho, "stride": self.stride}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "SharpnessAware":
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(config.pop("inner_model"), custom_objects)
        return cls(inner, **config)
