"""Measured gradient noise scale: the batch size above which a larger batch saves few updates.

Formula    B = tr(S) / |G|^2;  the gradient g_b of b images has |g_b|^2 = |G|^2 + tr(S) / b in the mean, so that of N b
           |G|^2 = (N |g_Nb|^2 - |g_b|^2) / (N - 1),  tr(S) = (|g_b|^2 - |g_Nb|^2) / (1 / b - 1 / (N b))
Paper      McCandlish et al. 2018, arXiv:1812.06162, section 2.2 and appendix A.1
Recipe     none: a callback for your own `fit`, or in `kt.train(callbacks=[...])`
Use when   choosing a batch size, or the epoch at which to grow it
Do not     read one epoch's value alone: |G|^2 is a small difference of two numbers, so the callback averages both
Cost       N forward and backward passes of b images at the end of each epoch
Differs    the paper measures during the update, from the gradients of the devices; here at the weights at the end of an
           epoch, in training mode, on batches that the caller gives. The averages are plain, not exponential
Status     equal to the formula on a linear model whose noise is known (tests/callbacks)
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_tricks.losses import trained_network
from keras_tricks.utils.backend import gradients_of
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs


def gradient_noise(small: float, large: float, small_batch: int, large_batch: int) -> tuple[float, float]:
    """Unbiased estimates of `(|G|^2, tr(S))` from the squared norms of gradients over two batch sizes.

    Args:
        small, large: mean squared norm of the gradients of `small_batch` and of `large_batch` images.
        small_batch, large_batch: integers, `0 < small_batch < large_batch`.

    Returns:
        Two floats. Both are unbiased; either may be negative by chance.

    Raises:
        UserError: the sizes are not in this order.
    """
    if not 0 < small_batch < large_batch:
        raise UserError("The noise scale needs two batch sizes, 0 < small < large. "
                        f"Received: {small_batch} and {large_batch}")
    power = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    noise = (small - large) / (1.0 / small_batch - 1.0 / large_batch)
    return power, noise


class GradientNoiseScale(keras.callbacks.Callback):
    """Logs the noise scale at the end of every epoch as `gradient_noise_scale`, in images.

    Args:
        batches: function without arguments that returns batches `(x, y)` or `(x, y, sample_weight)`, two or more of
            one size. It is called at the end of every epoch.

    `power` and `noise` are the means of `|G|^2` and `tr(S)` over the epochs so far; the logged value is `noise / power`
    or, while `power` is not positive, NaN.

    Raises:
        UserError: in `fit`, if there are fewer than two batches or they differ in size.
    """

    def __init__(self, batches: Callable[[], Iterable[Any]]) -> None:
        super().__init__()
        self.batches = batches
        self.measured, self.power, self.noise = 0, 0.0, 0.0

    def get_state(self) -> dict[str, Any]:
        return {"measured": self.measured, "power": self.power, "noise": self.noise}

    def set_state(self, state: dict[str, Any]) -> None:
        self.measured, self.power, self.noise = state["measured"], state["power"], state["noise"]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        power, noise = self.measure()
        self.measured += 1
        self.power += (power - self.power) / self.measured
        self.noise += (noise - self.noise) / self.measured
        if logs is not None:
            logs["gradient_noise_scale"] = self.noise / self.power if self.power > 0 else float("nan")

    def measure(self) -> tuple[float, float]:
        """`(|G|^2, tr(S))` at the current weights. Changes no variable of the model."""
        total, squares, sizes = None, [], set()
        for batch in self.batches():
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            sizes.add(len(keras.tree.flatten(x)[0]))
            gradients = self._gradients(x, y, weight)
            squares.append(_squared_norm(gradients))
            total = gradients if total is None else [t + g for t, g in zip(total, gradients, strict=True)]
        if len(squares) < 2 or len(sizes) > 1:
            raise UserError("GradientNoiseScale needs two batches or more of one size. Received "
                            f"{len(squares)} of {', '.join(map(str, sorted(sizes))) or 'no'} images.")
        count, size = len(squares), sizes.pop()
        large = _squared_norm([t / count for t in total])
        return gradient_noise(float(np.mean(squares)), large, size, count * size)

    def _gradients(self, x, y, weight):
        network = trained_network(self.model)
        variables = network.trainable_variables
        others = [(v, keras.ops.convert_to_tensor(v)) for v in network.non_trainable_variables]

        def loss(values):
            mapping = [*zip(variables, values, strict=True), *others]
            with keras.StatelessScope(state_mapping=mapping):
                return self.model.compute_loss(x, y, network(x, training=True), weight, training=True)

        found = gradients_of(loss, [keras.ops.convert_to_tensor(v) for v in variables])
        return [np.array(keras.ops.convert_to_numpy(g), "float64") for g in found]


def _squared_norm(tensors):
    return float(sum(np.sum(np.square(t)) for t in tensors))
