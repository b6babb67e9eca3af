"""Variables of a model between two steps of `fit`, without reattaching the state of the whole model.

On JAX the values are in a state that `fit` passes from step to step. `Callback.model` assigns all of it to the
variables, and `fit` collects it again for the next step: two passes over every variable. Here a callback reads the few
values it needs, and replaces single ones for the next step. On the other backends the variables have the values.
"""

import keras
import numpy as np

from keras_tricks.utils.backend import on_tensorflow

GROUPS = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")


class StepState:
    """Reads variables of the model of a callback between two steps, and sets those of its optimizer.

    Args:
        callback: `keras.callbacks.Callback`. Create one of these in its `set_model`, which every `fit` calls.
    """

    def __init__(self, callback):
        self.model = callback._model  # `callback.model` would reattach the state
        self.places = {}

    @property
    def optimizer(self):
        return self.model.optimizer

    def values(self, variables):
        """The values of some variables, a list of tensors. On JAX the next step frees them."""
        state = self._state()
        if state is None:
            return [keras.ops.convert_to_tensor(v) for v in variables]
        return [self._read(state, v) for v in variables]

    def number(self, variable):
        """The value of a scalar variable as a Python number. Waits for the step."""
        value, = self.values([variable])
        return keras.ops.convert_to_numpy(value).item()

    def set_for_next_step(self, variable, value):
        """Sets a variable of the optimizer to a NumPy number. Call it in `on_train_batch_begin`."""
        if on_tensorflow():  # a fifth of the time of Keras' `assign`
            variable.value.assign(np.asarray(value, variable.dtype), read_value=False)
            return
        state = self._state()
        group, index = (None, None) if state is None else self._place(variable)
        if group != "optimizer_variables":
            variable.assign(value)
            return
        if not isinstance(self.model.train_function, _TrainFunction):
            self.model.train_function = _TrainFunction(self.model.train_function)
        self.model.train_function.values[index] = _as_global_array(value, state[group][index])

    def _state(self):
        """The state of the last step, `None` if the variables have their values."""
        state = getattr(self.model, "_jax_state", None)
        return None if state is None or self.model._jax_state_synced else state

    def _read(self, state, variable):
        group, index = self._place(variable)
        return keras.ops.convert_to_tensor(variable) if group is None else state[group][index]

    def _place(self, variable):
        """(name of the group, index) of a variable in the state; `(None, None)` if it is not part of it."""
        if not self.places:
            groups = (self.model.trainable_variables, self.model.non_trainable_variables, self.optimizer.variables,
                      self.model.metrics_variables)
            self.places = {id(v): (name, i) for name, group in zip(GROUPS, groups, strict=True)
                           for i, v in enumerate(group)}
        return self.places.get(id(variable), (None, None))


class _TrainFunction:
    """Keras' train function on JAX, with other values of some variables of the optimizer in the next step.

    `fit` keeps the state of the model in a local variable, which only its train function receives. `model._jax_state`
    has copies of the lists in it: Keras copies every list that becomes an attribute of a model.
    """

    def __init__(self, function):
        self.function, self.values = function, {}  # {index: array}

    def __call__(self, state, iterator):
        if self.values:
            trainable, non_trainable, optimizer, metrics = state
            optimizer = [self.values.get(i, value) for i, value in enumerate(optimizer)]
            state, self.values = (trainable, non_trainable, optimizer, metrics), {}
        return self.function(state, iterator)


def _as_global_array(value, like):
    """A NumPy number in the place of a JAX array of the state: on the same devices, without asking other processes.

    A number on other devices would compile the step once more. An array that is not bound to devices can be replaced by
    the number itself, which costs least.
    """
    value = np.asarray(value, like.dtype)
    if not like.committed:
        return value
    import jax

    return jax.make_array_from_callback(value.shape, like.sharding, lambda _: value)
