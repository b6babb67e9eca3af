"""The noise scale of SGD: what a schedule keeps when it grows the batch instead of decaying the learning rate.

Formula    g = eps * N / (B * (1 - m));  exactly eps / (1 - m) * (N / B - 1)
Paper      Smith et al. 2017, arXiv:1711.00489, sections 2 to 4
Recipe     none: a column of every plan and of summary.csv
Use when   turning one schedule into another with fewer updates: B grows as eps, and as 1 / (1 - m)
Do not     trust the short form near B = N: at B = N / 10 it is 11 % above the exact one
Cost       none
Differs    nothing
Status     the plans of `dont_decay/` keep the short form to rounding (tests/schedules)
"""


def noise_scale(learning_rate, batch_size, dataset_size, momentum=0.0):
    """eps * N / (B * (1 - m)), a float. All arguments may be arrays."""
    return learning_rate * dataset_size / (batch_size * (1.0 - momentum))


def exact_noise_scale(learning_rate, batch_size, dataset_size, momentum=0.0):
    """eps / (1 - m) * (N / B - 1), a float; 0 for the whole data set as one batch. All arguments may be arrays."""
    return learning_rate / (1.0 - momentum) * (dataset_size / batch_size - 1.0)


def same_noise_batch_size(batch_size, learning_rate, new_learning_rate, momentum=0.0, new_momentum=None):
    """The batch size that keeps the noise scale when learning rate and momentum change: B ~ eps, B ~ 1 / (1 - m).

    Args:
        batch_size: of the first setting.
        learning_rate, new_learning_rate: floats > 0.
        momentum, new_momentum: floats in [0, 1). `new_momentum` defaults to `momentum`.

    Returns:
        A float; round it to what the devices can hold.
    """
    new_momentum = momentum if new_momentum is None else new_momentum
    return batch_size * (new_learning_rate / learning_rate) * (1.0 - momentum) / (1.0 - new_momentum)
