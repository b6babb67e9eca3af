"""Adaptive gradient clipping (AGC): limits each unit's gradient to a fraction of its weight norm.

Formula    g_i <- g_i * min(1, clip_factor * max(||w_i||, eps) / ||g_i||), i = one output unit
Paper      Brock et al. 2021, arXiv:2102.06171, section 4.1; code compared with: deepmind-research/nfnets/optim.py
Recipe     agc: optimizer.agc_clip_factor=0.01
Use when   training networks without normalization; clip_factor 0.01 at batches of 1024 to 4096, smaller batches
           allow more
Do not     clip the classifier's kernel (exempt by default): never clipping it is always better (section 4.1)
Cost       within the noise of a ResNet-50 step (0.997 of SGD's, n = 9, 2 cores; `benchmarks/optimizer_cost.py`)
Differs    nothing from DeepMind's rule. timm clips all it is given, with gain vectors element by element, and also
           exempts the classifier's bias
Status     not reproduced on ImageNet
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.ops import clip_unitwise, unit_axes
from keras_tricks.optimizers.combinations import clipping_of
from keras_tricks.optimizers.gradient_accumulation import GradientAccumulation
from keras_tricks.optimizers.wrapper import OptimizerWrapper, find_wrapper, innermost
from keras_tricks.utils.errors import UserError


@keras.saving.register_keras_serializable(package="keras_tricks")
class AGC(OptimizerWrapper):
    """Clips the global gradient unit by unit, then passes it to `inner_optimizer`.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, for instance `kt.optimizers.SGD(...)`.
        clip_factor: float > 0, largest ratio of gradient norm to weight norm. Defaults to `0.01` (paper, batch 4096).
        eps: float > 0, lower bound of the weight norm. Defaults to `1e-3` (paper).
        exclude: kernels that are not clipped: `"classifier"` (the last dense kernel), `"classifier_and_first"` (also
            the first convolution), `"none"`, or a list of words, which excludes variables with one of them in their
            path. Defaults to `"classifier"` (paper).
        name: as in Keras.

    Vectors (biases, gains, batch-norm parameters) are clipped as a whole, as in DeepMind's code. `is_depthwise`
    recognizes depthwise kernels.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, clip_factor: float = 0.01, eps: float = 1e-3,
                 exclude: str | Sequence[str] = "classifier", name: str | None = "AGC") -> None:
        super().__init__(inner_optimizer, name=name)
        _check_inside(self.inner_optimizer)
        if clip_factor <= 0 or eps <= 0:
            raise ValueError(f"`clip_factor` and `eps` must be > 0. Received: clip_factor={clip_factor}, eps={eps}")
        if isinstance(exclude, str) and exclude not in ("classifier", "classifier_and_first", "none"):
            raise ValueError('`exclude` must be "classifier", "classifier_and_first", "none" or a list of words. '
                             f"Received: {exclude!r}")
        self.clip_factor, self.eps = clip_factor, eps
        self.exclude = exclude if isinstance(exclude, str) else list(exclude)
        self.excluded_indices = set()

    def build(self, variables: list[Any]) -> None:
        if not self.built:
            self.excluded_indices = {i for i, keep in enumerate(excluded(variables, self.exclude)) if keep}
        super().build(variables)

    def step(self, gradients: list[Any], variables: list[Any]) -> tuple[list[Any], Any]:
        clipped = [
            gradient if gradient is None or i in self.excluded_indices else self.clip(gradient, variable)
            for i, (gradient, variable) in enumerate(zip(gradients, variables, strict=True))
        ]
        return clipped, None

    def clip(self, gradient: Any, variable: Any) -> Any:
        axes = unit_axes(variable.shape, is_depthwise(variable))
        return clip_unitwise(gradient, keras.ops.convert_to_tensor(variable), axes, self.clip_factor, self.eps)

    def get_config(self) -> dict[str, Any]:
        exclude = self.exclude if isinstance(self.exclude, str) else list(self.exclude)
        return {**super().get_config(), "clip_factor": self.clip_factor, "eps": self.eps, "exclude": exclude}


def _check_inside(optimizer):
    """Rejects what would clip the gradient a second time, or clip the parts of an average instead of the average."""
    if find_wrapper(optimizer, AGC):
        raise UserError("AGC(AGC(...)) clips twice: wrap the optimizer once.")
    if find_wrapper(optimizer, GradientAccumulation):
        raise UserError("AGC around GradientAccumulation would clip each batch, not their average: write "
                        "GradientAccumulation(AGC(optimizer), steps).")
    clipping = clipping_of(innermost(optimizer))
    if clipping is not None:
        raise UserError(f"AGC around an optimizer with `{clipping}` clips twice: leave out `{clipping}`, or AGC.")


def is_depthwise(variable):
    """Whether a variable is a depthwise kernel `(height, width, channels, multiplier)`, by its path or its shape.

    An optimizer sees variables, not layers. A kernel of more than one pixel with one output channel counts as
    depthwise, unless it has one input channel.
    """
    shape = tuple(variable.shape)
    named = "depthwise" in variable.path.lower() and "pointwise" not in variable.path.rsplit("/", 1)[-1]
    return len(shape) == 4 and (named or (shape[3] == 1 and shape[2] > 1 and shape[0] * shape[1] > 1))


def excluded(variables, exclude):
    """For each variable, whether it is excluded from clipping."""
    if not isinstance(exclude, str):
        return [any(word in v.path for word in exclude) for v in variables]
    flags = [False] * len(variables)
    dense = [i for i, v in enumerate(variables) if len(v.shape) == 2]
    convolutions = [i for i, v in enumerate(variables) if len(v.shape) >= 3]
    if exclude != "none" and dense:
        flags[dense[-1]] = True
    if exclude == "classifier_and_first" and convolutions:
        flags[convolutions[0]] = True
    return flags
