"""Type aliases for the public signatures."""

import os
from collections.abc import Callable, Sequence
from typing import Any

Path = str | os.PathLike[str]
Shape = Sequence[int | None]  # without the batch: height, width, channels
Logs = dict[str, Any] | None  # of a Keras callback
Activation = str | Callable[..., Any]  # a Keras identifier or a function of a tensor
Initializer = str | dict[str, Any] | Callable[..., Any] | None  # a Keras identifier, or `None` for the default
LearningRate = float | Callable[..., Any]  # a number or a `LearningRateSchedule`
Decay = Callable[..., Any] | None  # `Cosine`, `Step`, `Exponential` or any f(epoch, warmup_epochs, xp)
