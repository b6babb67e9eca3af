"""The callbacks of a run, which receive the logs of a step as tensors unless they need numbers.

Keras turns the logs of every step into numbers if any callback has `on_train_batch_end`. Reading a number waits until
the device has done the step, so the next one is not prepared meanwhile.
"""

from collections.abc import Sequence

import keras

from keras_tricks.utils.types import Logs


def numbers(logs: Logs) -> dict[str, float]:
    """Logs as Python numbers. Waits for the step."""
    return {name: value if isinstance(value, float) else float(keras.ops.convert_to_numpy(value))
            for name, value in (logs or {}).items()}


class CallbackList(keras.callbacks.CallbackList):
    """Keras' list for `fit`. Callbacks with `takes_tensors = True` receive the logs of a step as tensors."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, verbose: int, epochs: int,
                 steps: int) -> None:
        """`epochs`: the last epoch of this `fit`; `steps`: of an epoch."""
        super().__init__(list(callbacks), add_history=True, add_progbar=verbose != 0, model=model, verbose=verbose,
                         epochs=epochs, steps=steps)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        converted = None
        for callback in self.callbacks:
            if getattr(callback, "takes_tensors", False):
                callback.on_train_batch_end(batch, logs)
            elif _reads_steps(callback):
                converted = numbers(logs) if converted is None else converted
                callback.on_train_batch_end(batch, converted)


def _reads_steps(callback):
    """Whether a callback does anything at the end of a step."""
    names, base = ("on_train_batch_end", "on_batch_end"), keras.callbacks.Callback
    return any(name in vars(callback) or getattr(type(callback), name) is not getattr(base, name) for name in names)
