"""Muon: momentum whose matrix, for a convolution kernel of one row per filter, is made orthogonal before the update.

Formula    v <- momentum * v + g;  d = g + momentum * v, reshaped to (height * width * in, out);  d = U S V^T
           w <- w * sqrt(out) / ||w|| - learning_rate * U V^T, by `newton_schulz_steps` of the quintic iteration
           X <- a X + (b A + c A A) X,  A = X X^T,  (a, b, c) = (3.4445, -4.7750, 2.0315)
Paper      Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; code compared with: airbench94_muon.py of
           KellerJordan/cifar10-airbench
Recipe     muon: optimizer.name=muon
Use when   training small convolutional networks with normalization in few updates
Do not     use it without normalization layers: the kernels have a fixed norm
Cost       per kernel and update about `newton_schulz_steps` * 3 products of matrices of out x out
Differs    from `keras.optimizers.Muon`, which gives convolution kernels to AdamW: one kernel of ResNet-50's 54 is
           updated by Muon there, all but the classifier here. The iteration runs in float32 (airbench: bfloat16).
           Depthwise and dense kernels, gains and biases are updated by SGD
Status     equal to the formula in NumPy over 20 updates (tests/optimizers); in `cifar10/airbench94`
"""

import math
from typing import Any

import keras

from keras_tricks.optimizers.agc import is_depthwise
from keras_tricks.optimizers.sgd import SGD, sgd_step
from keras_tricks.optimizers.wrapper import variable_index
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import LearningRate

QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Any, steps: int = 5) -> Any:
    """Approximately U V^T of a float matrix U S V^T: the singular values become about 1.

    Args:
        matrix: float tensor `(m, n)`.
        steps: integer > 0, iterations. Defaults to `5`.
    """
    ops = keras.ops
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else ops.transpose(matrix)
    x = wide / (ops.sqrt(ops.sum(ops.square(wide))) + 1e-7)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return x if matrix.shape[0] <= matrix.shape[1] else ops.transpose(x)


def is_filters(variable: Any) -> bool:
    """Whether Muon updates a variable: kernels of convolutions, except depthwise ones."""
    return len(variable.shape) >= 3 and not is_depthwise(variable)


@keras.saving.register_keras_serializable(package="keras_tricks")
class Muon(SGD):
    """Muon for convolution kernels, SGD with Nesterov momentum for all other variables.

    Args:
        learning_rate: float or `LearningRateSchedule`, of the kernels. Defaults to `0.24` (airbench, batch 2000).
        momentum: float in [0, 1), of the kernels. Defaults to `0.6` (airbench).
        weight_decay: float >= 0 or `None`. Variables that SGD updates lose `learning_rate * weight_decay * w` per
            update, through their momentum. Kernels have a fixed norm and no decay. Defaults to `None`.
        no_bias_decay: bool, whether SGD decays only tensors with two or more axes. Defaults to `False`.
        other_momentum: float in [0, 1), of the other variables. Defaults to `0.85` (airbench).
        vector_ratio: float > 0, learning rate of vectors relative to that of the kernels. Defaults to `1.0`. It depends
            on the scale of the loss, the learning rate of the kernels does not.
        matrix_ratio: float > 0, the same for the other tensors, such as the classifier. Defaults to `1.0`.
        newton_schulz_steps: integer > 0, iterations. Defaults to `3` (airbench).
        normalize_kernels: bool, whether the norm of a kernel is kept at sqrt(out). Defaults to `True` (airbench).
        name, **kwargs: as in `keras.optimizers.Optimizer`.

    The kernel of a grouped convolution counts as one matrix.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, learning_rate: LearningRate = 0.24, momentum: float = 0.6, weight_decay: float | None = None,
                 no_bias_decay: bool = False, other_momentum: float = 0.85, vector_ratio: float = 1.0,
                 matrix_ratio: float = 1.0, newton_schulz_steps: int = 3, normalize_kernels: bool = True,
                 name: str | None = "Muon", **kwargs: Any) -> None:
        super().__init__(learning_rate, momentum, True, weight_decay, no_bias_decay, name=name, **kwargs)
        if not 0 <= other_momentum < 1:
            raise UserError(f"`other_momentum` must be in [0, 1). Received: {other_momentum}")
        if vector_ratio <= 0 or matrix_ratio <= 0:
            raise UserError("`vector_ratio` and `matrix_ratio` must be > 0. "
                            f"Received: vector_ratio={vector_ratio}, matrix_ratio={matrix_ratio}")
        if int(newton_schulz_steps) != newton_schulz_steps or newton_schulz_steps < 1:
            raise UserError(f"`newton_schulz_steps` must be an integer >= 1. Received: {newton_schulz_steps}")
        self.other_momentum, self.vector_ratio, self.matrix_ratio = other_momentum, vector_ratio, matrix_ratio
        self.newton_schulz_steps, self.normalize_kernels = int(newton_schulz_steps), normalize_kernels
        self.filters = []

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        if not self.velocities:
            self.velocities = self.add_optimizer_variables(variables, "velocity")
        self.filters = [is_filters(v) for v in variables]
        self.decays = [0.0 if chosen else d for chosen, d in zip(self.filters, self.decays, strict=True)]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index, ops = variable_index(self, variable), keras.ops
        weight, gradient, rate = (ops.cast(x, variable.dtype) for x in (variable, gradient, learning_rate))
        velocity = self.velocities[index]
        if not self.filters[index]:
            ratio = self.vector_ratio if len(variable.shape) <= 1 else self.matrix_ratio
            step, new = sgd_step(weight, gradient, velocity, self.other_momentum, True, self.decays[index] / ratio)
            if new is not None:
                self.assign(velocity, new)
            self.assign_sub(variable, ratio * rate * step)
            return
        new = self.momentum * velocity + gradient
        self.assign(velocity, new)
        direction = ops.reshape(gradient + self.momentum * new, (-1, variable.shape[-1]))
        step = ops.reshape(orthogonalize(direction, self.newton_schulz_steps), variable.shape)
        if self.normalize_kernels:
            weight = weight * (math.sqrt(variable.shape[-1]) / (ops.sqrt(ops.sum(ops.square(weight))) + 1e-12))
        self.assign(variable, weight - rate * step)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["nesterov"]
        return {
            **config,
            "other_momentum": self.other_momentum,
            "vector_ratio": self.vector_ratio,
            "matrix_ratio": self.matrix_ratio,
            "newton_schulz_steps": self.newton_schulz_steps,
            "normalize_kernels": self.normalize_kernels,
        }
