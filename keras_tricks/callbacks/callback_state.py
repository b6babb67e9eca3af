"""The state of other callbacks in a checkpoint."""

import json

import numpy as np

from keras_tricks.utils.errors import UserError


def _state_method(callback):
    """The method of a callback that returns its state: `state` or `get_state`, if it has `set_state`; else `None`."""
    has_setter = callable(getattr(callback, "set_state", None))
    methods = (getattr(callback, name, None) for name in ("state", "get_state"))
    return next((method for method in methods if has_setter and callable(method)), None)


def state_of(callback):
    """The state of a callback: what its method returns, else its plain public attributes."""
    method = _state_method(callback)
    if method is not None:
        return method()
    plain = (int, float, bool, str, type(None))
    found = {k: v for k, v in vars(callback).items() if not k.startswith("_")}
    return {k: v.item() if isinstance(v, np.generic) else v
            for k, v in found.items() if isinstance(v, (*plain, np.generic))}


def set_state_of(callback, state):
    """Restores what `state_of` returned."""
    if _state_method(callback) is not None:
        callback.set_state(state)
        return
    for key, value in state.items():
        # Keras turns the sign of `min_delta` once, after the first epoch of a callback: it must find its own value.
        if key != "min_delta" or not hasattr(callback, "monitor_op"):
            setattr(callback, key, value)


def states_as_json(states, callbacks):
    """The states as JSON. Raises a `UserError` that names the callback whose state is something else."""
    for state, callback in zip(states, callbacks, strict=True):
        try:
            json.dumps(state)
        except (TypeError, ValueError) as error:
            raise UserError(f"The state of the callback {type(callback).__name__} must be numbers, texts, lists and "
                            f"dicts, which JSON can hold ({error}).") from None
    return json.dumps(states)
