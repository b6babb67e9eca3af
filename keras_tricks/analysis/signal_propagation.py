"""Signal propagation plots: how means and variances change from block to block before any training.

Brock et al. 2021, arXiv:2101.08692, section 3.1. The input is random normal images. After every residual addition three
numbers are measured, each an average over channels:

    squared mean      of a channel over images and pixels, squared: the mean shift that normalization removes
    variance          of a channel over images and pixels
    branch variance   the same, of the residual branch just before it joins the sum
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from keras_tricks.layers import ScaledWSConv2D
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import NORMALIZATIONS, Graph, call_layer, every_layer
from keras_tricks.utils.plotting import new_figure, save_figure
from keras_tricks.utils.types import Path

MULTIPLIERS = ("gamma", "gain")  # trained factors that make a branch zero when they are 0


@dataclasses.dataclass(frozen=True)
class BlockSignal:
    """The measurements after one residual addition."""

    name: str
    squared_mean: float
    variance: float
    branch_variance: float


@dataclasses.dataclass(frozen=True)
class SignalPropagation:
    """Every residual addition of a model, in graph order. `str()` gives a table."""

    model: str
    normalizations: int  # number of batch, group and layer normalizations
    standardized: int  # number of convolutions with scaled weight standardization
    closed: int  # number of additions whose branch is zero because a trained factor starts at 0
    blocks: tuple

    def __str__(self) -> str:
        width = max(len(b.name) for b in self.blocks)
        lines = [f"{self.model}: {len(self.blocks)} residual additions, {self._norms()}", "",
                 f"{'block':<{width}}  {'squared mean':>12}  {'variance':>12}  {'branch variance':>15}"]
        lines += [f"{b.name:<{width}}  {b.squared_mean:>12.4g}  {b.variance:>12.4g}  {b.branch_variance:>15.4g}"
                  for b in self.blocks]
        if self.closed:
            lines += ["", f"{self.closed} branches are zero because a trained factor in them starts at 0. "
                      "`open_branches=True` (--open) measures with those factors at 1."]
        return "\n".join(lines)

    def suspicion(self) -> str:
        """A warning if a model that should be normalizer-free has normalization layers; otherwise an empty string."""
        free = self.standardized or self.model.startswith(("nf", "skipinit", "fixup"))
        if not (free and self.normalizations):
            return ""
        return (f"{self.model} is not normalizer-free: beside {self.standardized} scaled weight-standardized "
                f"convolutions it has {self.normalizations} normalization layers, which undo gains, alpha and beta.")

    def _norms(self):
        return f"{self.normalizations} normalization layers" if self.normalizations else "no normalization layer"


def signal_propagation(model: keras.Model, images: Any = None, batch_size: int = 8, image_size: int | None = None,
                       seed: int = 0, open_branches: bool = False) -> SignalPropagation:
    """Measures the signal after every residual addition of a fresh network.

    The network runs in training mode, so that batch normalization uses the statistics of the batch. All variables,
    including the moving statistics, are restored afterwards.

    Args:
        model: functional `keras.Model` with one image input, from this zoo, `keras.applications` or your own code.
        images: float array `(batch, height, width, channels)`. Defaults to `None`: independent N(0, 1) pixels.
        batch_size: integer > 0, number of random images. Defaults to `8`.
        image_size: integer, height and width of the random images, for a model that accepts any size. Defaults to
            `None`.
        seed: integer, seed of the random images. Defaults to `0`.
        open_branches: bool, whether to measure with gammas and gains of 0 set to 1. Defaults to `False`.

    Returns:
        A `SignalPropagation`.

    Raises:
        UserError: the model has no residual addition, or several inputs; it accepts any input size and `image_size` is
            `None`; the model, or a model inside it, is subclassed.
    """
    graph = Graph(model)
    additions = graph.additions()
    if not additions:
        raise UserError(f"{model.name} has no residual addition (`keras.layers.Add` of two tensors, or `x + y`) to "
                        "measure.")
    if len(graph.inputs) != 1:
        raise UserError(f"{model.name} has {len(graph.inputs)} inputs: `signal_propagation` needs a model with one, of "
                        "images.")
    taps = [add.outputs[0] for add in additions] + [graph.branch(*add.inputs) for add in additions]
    if images is None:
        images = keras.random.normal((batch_size, *_input_size(model, image_size)), seed=seed)
    images = keras.ops.convert_to_tensor(images, graph.inputs[0].dtype)
    with _restored(model.variables):
        if open_branches:
            _open_branches(model)
        values = graph.run(call_layer, [images], training=True, wanted=taps)
        moments = [_moments(values[id(tensor)]) for tensor in taps]
    rows = [BlockSignal(add.layer.name, *sums, branch[1])
            for add, sums, branch in zip(additions, moments[: len(additions)], moments[len(additions) :], strict=True)]
    norms, standardized = (sum(isinstance(layer, kinds) for layer in every_layer(model))
                           for kinds in (NORMALIZATIONS, ScaledWSConv2D))
    return SignalPropagation(model.name, norms, standardized, sum(r.branch_variance == 0 for r in rows), tuple(rows))


def _input_size(model, image_size):
    shape = tuple(model.inputs[0].shape[1:])
    if image_size is not None:
        shape = (image_size, image_size, shape[-1])
    if None in shape:
        raise UserError(f"{model.name} accepts images of any size: pass `image_size` (--image-size), such as 224.")
    return shape


def _moments(x):
    """Averages over channels of the squared mean and of the variance."""
    ops = keras.ops
    mean, variance = ops.moments(ops.cast(x, "float32"), axes=[0, 1, 2])
    return float(ops.mean(ops.square(mean))), float(ops.mean(variance))


def _open_branches(model):
    for variable in model.trainable_variables:
        if variable.name in MULTIPLIERS and not keras.ops.any(keras.ops.convert_to_tensor(variable) != 0):
            variable.assign(keras.ops.ones(variable.shape))


@contextlib.contextmanager
def _restored(variables):
    before = [keras.ops.convert_to_numpy(v) for v in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def draw(signals: Sequence[SignalPropagation], path: Path) -> None:
    """Draws three plots side by side, with one line per model, as in the paper's figures.

    Args:
        signals: list of `SignalPropagation`.
        path: path of the PNG.
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
