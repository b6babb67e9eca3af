"""The noise scale of SGD, which growing the batch changes in the same way as decaying the learning rate.

Formula    g = eps * N / (B * (1 - m));  exactly eps / (1 - m) * (N / B - 1); a momentum forgets in 1 / (1 - m) updates,
           which are B / (N * (1 - m)) epochs
Paper      Smith et al. 2017, arXiv:1711.00489, sections 2 to 4
Recipe     none: a column of every plan and of summary.csv
Use when   converting a schedule into one with fewer updates: B is proportional to eps and to 1 / (1 - m)
Do not     rely on the short form near B = N: at B = N / 10 it is 11 % above the exact form
Cost       none
Differs    nothing
Status     the plans of `dont_decay/` preserve the short form up to rounding (tests/schedules)
"""

from typing import Any


def noise_scale(learning_rate: Any, batch_size: Any, dataset_size: Any, momentum: Any = 0.0) -> Any:
    """eps * N / (B * (1 - m)), a float. All arguments may be arrays."""
    return learning_rate * dataset_size / (batch_size * (1.0 - momentum))


def exact_noise_scale(learning_rate: Any, batch_size: Any, dataset_size: Any, momentum: Any = 0.0) -> Any:
    """eps / (1 - m) * (N / B - 1), a float; 0 for the whole data set as one batch. All arguments may be arrays."""
    return learning_rate / (1.0 - momentum) * (dataset_size / batch_size - 1.0)


def forgetting_epochs(batch_size: Any, dataset_size: Any, momentum: Any) -> Any:
    """B / (N * (1 - m)), the epochs in which the weight of a gradient in the momentum falls to 1 / e; a float.

    A larger momentum takes this much longer to start, and to follow a change of the learning rate or the batch (section
    4 of the paper). All arguments may be arrays.
    """
    return batch_size / (dataset_size * (1.0 - momentum))


def same_noise_batch_size(batch_size: float, learning_rate: float, new_learning_rate: float, momentum: float = 0.0,
                          new_momentum: float | None = None) -> float:
    """The batch size that preserves the noise scale when learning rate and momentum change: B ~ eps, B ~ 1 / (1 - m).

    Args:
        batch_size: batch size of the first setting.
        learning_rate, new_learning_rate: floats > 0.
        momentum: float in [0, 1). Defaults to `0.0`.
        new_momentum: float in [0, 1). Defaults to `None`: `momentum`.

    Returns:
        A float; round it to what the devices can hold.
    """
    new_momentum = momentum if new_momentum is None else new_momentum
    return batch_size * (new_learning_rate / learning_rate) * (1.0 - momentum) / (1.0 - new_momentum)
