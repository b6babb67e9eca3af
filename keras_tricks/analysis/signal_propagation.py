"""Signal propagation plots: what happens to means and variances from block to block, before any training.

Brock et al. 2021, arXiv:2101.08692, section 3.1. Random normal images go through a network; after every residual
addition three numbers are taken, each an average over channels:

    squared mean      of a channel over images and pixels, squared: the mean shift that normalization removes
    variance          of a channel over images and pixels
    branch variance   the same, of the residual branch just before it joins the sum
"""

import contextlib
import dataclasses

import keras

from keras_tricks.layers import ScaledWSConv2D
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import NORMALIZATIONS, Graph, every_layer
from keras_tricks.utils.plotting import new_figure, save_figure

MULTIPLIERS = ("gamma", "gain")  # trained factors that close a branch when they are 0


@dataclasses.dataclass(frozen=True)
class BlockSignal:
    """One residual addition."""

    name: str
    squared_mean: float
    variance: float
    branch_variance: float


@dataclasses.dataclass(frozen=True)
class SignalPropagation:
    """Every residual addition of a model, in graph order. `str()` of it is a table."""

    model: str
    normalizations: int  # layers of batch, group or layer normalization
    standardized: int  # convolutions with scaled weight standardization
    closed: int  # additions whose branch is zero: their trained factor starts at 0
    blocks: tuple

    def __str__(self):
        width = max(len(b.name) for b in self.blocks)
        lines = [f"{self.model}: {len(self.blocks)} residual additions, {self._norms()}", "",
                 f"{'block':<{width}}  {'squared mean':>12}  {'variance':>12}  {'branch variance':>15}"]
        lines += [f"{b.name:<{width}}  {b.squared_mean:>12.4g}  {b.variance:>12.4g}  {b.branch_variance:>15.4g}"
                  for b in self.blocks]
        if self.closed:
            lines += ["", f"{self.closed} branches are closed: a trained factor in them starts at 0. "
                      "`open_branches=True` (--open) measures with those factors at 1."]
        return "\n".join(lines)

    def suspicion(self):
        """A sentence when the model says it has no normalization and has some; else an empty string."""
        free = self.standardized or self.model.startswith(("nf", "skipinit", "fixup"))
        if not (free and self.normalizations):
            return ""
        return (f"{self.model} is not normalizer-free: beside {self.standardized} scaled weight-standardized "
                f"convolutions it holds {self.normalizations} normalization layers, which undo gains, alpha and beta.")

    def _norms(self):
        return f"{self.normalizations} normalization layers" if self.normalizations else "no normalization layer"


def signal_propagation(model, images=None, batch_size=8, image_size=None, seed=0, open_branches=False):
    """Measures the signal after every residual addition of a fresh network.

    The network runs as in training, so that batch normalization uses the statistics of the batch; its moving averages
    are put back afterwards, as is every other variable.

    Args:
        model: functional `keras.Model` with one image input: of this zoo, `keras.applications` or your own.
        images: float array `(batch, height, width, channels)`. Defaults to independent N(0, 1) pixels.
        batch_size: integer > 0, number of those. Defaults to `8`.
        image_size: integer, their height and width where the model leaves it open.
        seed: integer, of the pixels.
        open_branches: bool, measure with the gammas and gains that are 0 set to 1.

    Returns:
        A `SignalPropagation`.

    Raises:
        UserError: no residual addition in the model, or its input size is open and `image_size` not given.
    """
    graph = Graph(model)
    additions = graph.additions()
    if not additions:
        raise UserError(f"{model.name} has no residual addition (`keras.layers.Add` of two tensors) to look at.")
    branches = [graph.branch(*add.input) for add in additions]
    if images is None:
        images = keras.random.normal((batch_size, *_input_size(model, image_size)), seed=seed)
    taps = keras.Model(model.input, [*(add.output for add in additions), *branches])
    with _kept(model.variables):
        if open_branches:
            _open(model)
        moments = [_moments(x) for x in taps(images, training=True)]
    rows = [BlockSignal(add.name, *sums, branch[1])
            for add, sums, branch in zip(additions, moments[: len(additions)], moments[len(additions) :], strict=True)]
    norms, standardized = (sum(isinstance(layer, kinds) for layer in every_layer(model))
                           for kinds in (NORMALIZATIONS, ScaledWSConv2D))
    return SignalPropagation(model.name, norms, standardized, sum(r.branch_variance == 0 for r in rows), tuple(rows))


def _input_size(model, image_size):
    shape = tuple(model.inputs[0].shape[1:])
    if image_size is not None:
        shape = (image_size, image_size, shape[-1])
    if None in shape:
        raise UserError(f"{model.name} takes images of any size: give `image_size` (--image-size), such as 224.")
    return shape


def _moments(x):
    """Averages over channels of the squared mean and of the variance."""
    ops = keras.ops
    mean, variance = ops.moments(ops.cast(x, "float32"), axes=[0, 1, 2])
    return float(ops.mean(ops.square(mean))), float(ops.mean(variance))


def _open(model):
    for variable in model.trainable_variables:
        if variable.name in MULTIPLIERS and not keras.ops.any(keras.ops.convert_to_tensor(variable) != 0):
            variable.assign(keras.ops.ones(variable.shape))


@contextlib.contextmanager
def _kept(variables):
    before = [keras.ops.convert_to_numpy(v) for v in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def draw(signals, path):
    """Three plots side by side, one line per model, as in the paper's figures.

    Args:
        signals: list of `SignalPropagation`.
        path: of the PNG.
    """
    figure = new_figure(13, 3.6)
    kinds = (("squared_mean", "average channel squared mean"), ("variance", "average channel variance"),
             ("branch_variance", "residual branch variance"))
    for axes, (kind, title) in zip(figure.subplots(1, 3), kinds, strict=True):
        for signal in signals:
            values = [getattr(block, kind) for block in signal.blocks]
            axes.plot(range(1, len(values) + 1), values, marker=".", label=signal.model)
            if max(values) > 100 * max(min(values), 1e-12) and min(values) > 0:
                axes.set_yscale("log")
        axes.set(title=title, xlabel="residual block")
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=max(len(signals), 1))
    save_figure(figure, path, "--plot", dpi=120)
