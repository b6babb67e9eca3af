"""Linear scaling: the learning rate grows with the batch size.

Formula    eta = base_learning_rate * batch_size / base_batch_size        (0.1 per 256 images)
Paper      Goyal et al. 2017, arXiv:1706.02677; He et al. 2018, arXiv:1812.01187, section 3.1
Recipe     always on: schedule.base_learning_rate for schedule.base_batch_size images
Use when   SGD, with warmup from about 1024 images on
Do not     use it beyond about 8192 images, or with adaptive optimizers, without tuning
Cost       none
Differs    nothing
Status     in every recipe
"""


def linear_scaling(batch_size: int, base_learning_rate: float = 0.1, base_batch_size: int = 256) -> float:
    """The learning rate for a batch of `batch_size` images, over all devices."""
    return base_learning_rate * batch_size / base_batch_size
