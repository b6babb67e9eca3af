"""State of the process that a training changes and restores.

    changed and restored    precision policy, determinism of TensorFlow, the random state of Python and NumPy
    changed permanently     layer names are numbered from the start (`keras.utils.clear_session`), the global seeds of
                            Keras and TensorFlow are those of the recipe, logical devices remain split

This state belongs to the process, not to a thread, so only one training or evaluation at a time can set it.
"""

import contextlib
import random
import threading

import keras
import numpy as np

from keras_tricks.utils.errors import UserError

_busy = threading.Lock()


@contextlib.contextmanager
def own_process(what):
    """A context in which this training or evaluation alone changes the state of the process; restores it at the end.

    Args:
        what: the function in messages, such as `"kt.train"`.

    Raises:
        UserError: another one is running in this process, or the caller is inside a `strategy.scope()`.
    """
    from keras_tricks.distribution import process_state

    if process_state.in_strategy_scope():
        raise UserError(f"{what} creates its own strategy: call it outside of strategy.scope(), and choose devices "
                        "with `train.strategy` (--strategy).")
    if not _busy.acquire(blocking=False):
        raise UserError(f"{what}: another training or evaluation is running in this process. Precision, seeds and "
                        "determinism belong to the whole process: wait for it, or start another process.")
    try:
        policy, deterministic = keras.config.dtype_policy(), process_state.is_deterministic()
        python, numpy = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)
            random.setstate(python)
            np.random.set_state(numpy)
            process_state.set_deterministic(deterministic)
    finally:
        _busy.release()
