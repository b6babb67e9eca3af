"""Adaptive gradient clipping (AGC): limits each unit's gradient to a fraction of its weight norm.

Formula    g_i <- g_i * min(1, clip_factor * max(||w_i||, eps) / ||g_i||), i = one output unit
Paper      Brock et al. 2021, arXiv:2102.06171, section 4.1; code compared with: deepmind-research/nfnets/optim.py
Recipe     agc: optimizer.agc_clip_factor=0.01
Use when   networks without normalization; clip_factor 0.01 at batches of 1024 to 4096, smaller batches bear more
Do not     clip the classifier's kernel (exempt by default): never clipping it is always better (section 4.1)
Cost       within the noise of a ResNet-50 step (0.997 of SGD's, n = 9, 2 cores; `benchmarks/optimizer_cost.py`)
Differs    nothing from DeepMind's rule. timm clips what it is given: also vectors element by element of its gains,
           and exempts the classifier's bias too
Status     not reproduced on ImageNet
"""

import keras

from keras_tricks.ops import clip_unitwise, unit_axes
from keras_tricks.optimizers.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="keras_tricks")
class AGC(OptimizerWrapper):
    """Clips the global gradient unit by unit, then hands it to `inner_optimizer`.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, for instance `kt.optimizers.SGD(...)`.
        clip_factor: float > 0, largest ratio of gradient norm to weight norm. Defaults to `0.01` (paper, batch 4096).
        eps: float > 0, floor of the weight norm. Defaults to `1e-3` (paper).
        exclude: which kernels are left alone: `"classifier"` (the last dense kernel), `"classifier_and_first"` (the
            first convolution too), `"none"`, or a list of words one of which stands in the variable's path. Defaults
            to `"classifier"` (paper).
        name: as in Keras.

    Vectors (biases, gains, batch-norm parameters) are clipped as a whole, as in DeepMind's code. Depthwise kernels are
    told by `is_depthwise`.
    """

    def __init__(self, inner_optimizer, clip_factor=0.01, eps=1e-3, exclude="classifier", name="AGC"):
        if isinstance(inner_optimizer, AGC):
            raise ValueError("AGC(AGC(...)) clips twice: wrap the optimizer once.")
        super().__init__(inner_optimizer, name=name)
        if clip_factor <= 0 or eps <= 0:
            raise ValueError(f"`clip_factor` and `eps` must be > 0. Received: clip_factor={clip_factor}, eps={eps}")
        if isinstance(exclude, str) and exclude not in ("classifier", "classifier_and_first", "none"):
            raise ValueError('`exclude` must be "classifier", "classifier_and_first", "none" or a list of words. '
                             f"Received: {exclude!r}")
        self.clip_factor, self.eps = clip_factor, eps
        self.exclude = exclude if isinstance(exclude, str) else list(exclude)
        self.excluded_indices = set()

    def build(self, variables):
        if not self.built:
            self.excluded_indices = {i for i, keep in enumerate(excluded(variables, self.exclude)) if keep}
        super().build(variables)

    def step(self, gradients, variables):
        clipped = [
            gradient if gradient is None or i in self.excluded_indices else self.clip(gradient, variable)
            for i, (gradient, variable) in enumerate(zip(gradients, variables, strict=True))
        ]
        return clipped, None

    def clip(self, gradient, variable):
        axes = unit_axes(variable.shape, is_depthwise(variable))
        return clip_unitwise(gradient, keras.ops.convert_to_tensor(variable), axes, self.clip_factor, self.eps)

    def get_config(self):
        return {**super().get_config(), "clip_factor": self.clip_factor, "eps": self.eps, "exclude": self.exclude}


def is_depthwise(variable):
    """Whether a variable is a depthwise kernel `(height, width, channels, multiplier)`, by its path or its shape.

    An optimizer sees variables, not layers: a kernel of more than one pixel and one output channel counts as
    depthwise, unless it is fed by one channel.
    """
    shape = tuple(variable.shape)
    named = "depthwise" in variable.path.lower() and "pointwise" not in variable.path.rsplit("/", 1)[-1]
    return len(shape) == 4 and (named or (shape[3] == 1 and shape[2] > 1 and shape[0] * shape[1] > 1))


def excluded(variables, exclude):
    """For each variable, whether AGC leaves it alone."""
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
