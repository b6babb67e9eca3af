"""Exponential moving average of all weights, including batch-norm statistics.

Formula    a <- d * a + (1 - d) * w after every update, d = min(decay, (1 + t) / (10 + t)), t = updates so far
Paper      Polyak & Juditsky 1992; ramp and decay: Brock et al. 2021, arXiv:2102.06171, appendix A (0.99999)
Recipe     weight_ema: optimizer.ema_decay=0.9999
Use when   training for long; ResNet-RS uses 0.9999, NFNets 0.99999
Do not     judge a short run by an average with a decay near 1 and without the ramp
Cost       one copy of the weights; 1.027 of a ResNet-50 step (n = 9, 2 cores; `benchmarks/optimizer_cost.py`)
Differs    from Keras' `use_ema`: also averages batch-norm statistics, never swaps the weights silently, and advances
           once per update under gradient accumulation
Status     equal to the formula on 1, 2 and 4 replicas (tests/contracts)
"""

import contextlib
import functools
import inspect
from typing import Any

import keras
import numpy as np

from keras_tricks.distribution.step_state import StepState
from keras_tricks.losses import trained_network
from keras_tricks.utils.backend import compiled, on_tensorflow
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.types import Logs


def ema_decay(updates, decay):
    """The decay at update t = `updates` (1, 2, ...): the smaller of `decay` and `(1 + t) / (10 + t)`."""
    return keras.ops.minimum(decay, (1.0 + updates) / (10.0 + updates))


class WeightEMA(keras.callbacks.Callback):
    """Keeps an average of every float variable of the model and evaluates it in addition to the weights.

    Args:
        decay: float in [0, 1). Defaults to `0.9999`.
        validation_data: what `validation_data` of `fit` takes: `(x, y)`, `(x, y, sample_weight)`, a data set or a
            `PyDataset`, on which the average is evaluated at the end of an epoch; results are logged as
            `val_ema_<name>`. Defaults to `None`: no evaluation.
        evaluate_every: integer > 0, epochs between evaluations. Defaults to `1`.

    `averages` are the variables of the average, in the order of `model.variables` (floats only). `swapped()` is a
    context in which the model has the averaged weights.

    Raises:
        UserError: `validation_data` is a generator, which ends after one evaluation, or a tuple of another length; in
            `fit`, if the model has `steps_per_execution` > 1.
    """

    takes_tensors = True  # see `callback_list.py`

    def __init__(self, decay: float = 0.9999, validation_data: Any = None, evaluate_every: int = 1) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"`decay` must be in [0, 1). Received: decay={decay}")
        _check_validation_data(validation_data)
        self.decay, self.validation_data, self.evaluate_every = decay, validation_data, evaluate_every
        self.sources, self._averages, self._last = [], [], None
        self.blended = None  # (averages, number of the last update), newer than their variables

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.step_state = StepState(self)

    def on_train_begin(self, logs: Logs = None) -> None:
        if getattr(self.model, "steps_per_execution", 1) != 1:
            raise UserError("WeightEMA averages after every update and needs steps_per_execution=1.")
        self.build(self.model)

    @property
    def averages(self) -> list[keras.Variable]:
        """The variables of the average."""
        self._assign()
        return self._averages

    @property
    def last(self) -> keras.Variable | None:
        """The number of the last averaged update."""
        self._assign()
        return self._last

    def build(self, model: keras.Model) -> None:
        """Starts the average at the model's weights. `fit` calls it; call it earlier to restore `variables`."""
        if self._averages:
            return
        self.set_model(model)
        # A distiller's teacher does not change.
        self.sources = [v for v in trained_network(model).variables if "float" in v.dtype]
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            self._averages = [
                keras.Variable(_copy(v), trainable=False, dtype=v.dtype, name=f"{v.path.replace('/', '_')}_average")
                for v in self.sources
            ]
            updates = _copy(model.optimizer.iterations)
            self._last = keras.Variable(updates, dtype="int", trainable=False, name="last_update")
        self._blend = compiled(functools.partial(_blended, decay=self.decay))
        self._advance = self._in_a_graph() if on_tensorflow() else self._anywhere

    def start(self) -> None:
        """Restarts the average at the current weights."""
        for average, source in zip(self.averages, self.sources, strict=True):
            average.assign(_copy(source))
        self.last.assign(_copy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._advance()

    def _in_a_graph(self):
        from keras_tricks.distribution.average_update import make_average_update

        model = self.model
        return make_average_update(model.distribute_strategy, model.optimizer.iterations, self._averages, self.sources,
                                   self._last, lambda updates: ema_decay(updates, self.decay))

    def _anywhere(self):
        """Blends without waiting for the step. The variables of the average receive the values when they are read."""
        updates, *sources = self.step_state.values([self.step_state.optimizer.iterations, *self.sources])
        if self.blended is None:
            self.blended = self.step_state.values(self._averages), *self.step_state.values([self._last])
        self.blended = self._blend(self.blended[0], sources, updates, self.blended[1])

    def _assign(self):
        """Assigns the newest values to the variables of the average."""
        if self.blended is None:
            return
        (averages, last), self.blended = self.blended, None
        for variable, value in zip([*self._averages, self._last], [*averages, last], strict=True):
            variable.assign(value)

    @property
    def variables(self) -> dict[str, Any]:
        """{path of the averaged variable: average}; `last_update` is the number of the last averaged update."""
        paths = (v.path for v in self.sources)
        return {**dict(zip(paths, self.averages, strict=True)), "last_update": self.last}

    def swapped(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the model has the averaged weights; its own are restored afterwards."""
        return _Swapped(self.sources, self.averages)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.validation_data is None or (epoch + 1) % self.evaluate_every:
            return
        with self.swapped():
            x, y, weights = keras.utils.unpack_x_y_sample_weight(self.validation_data)
            values = self.model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
        if logs is not None:
            logs.update({f"val_ema_{name}": value for name, value in values.items()})


def _check_validation_data(data):
    if inspect.isgenerator(data):
        raise UserError("`validation_data` of WeightEMA is a generator, which ends after one evaluation: pass arrays,"
                        " a data set or a PyDataset.")
    if isinstance(data, (tuple, list)) and len(data) not in (2, 3):
        raise UserError("`validation_data` of WeightEMA must be (x, y), (x, y, sample_weight), a data set or a "
                        f"PyDataset. Received {type(data).__name__} of {len(data)}.")


def _blended(averages, sources, updates, last, decay):
    """(the averages after `updates` updates, `updates`). Nothing changes without an update since `last`.

    All of them are new tensors, because JAX frees those of the step.
    """
    ops = keras.ops
    kept = ops.where(updates > last, ema_decay(ops.cast(updates, "float32"), decay), 1.0)
    return [ops.cast(kept * average + (1.0 - kept) * ops.stop_gradient(source), average.dtype)
            for average, source in zip(averages, sources, strict=True)], ops.maximum(updates, last)


def _copy(variable):
    """The values in separate memory: JAX frees the buffers it receives."""
    return np.array(keras.ops.convert_to_numpy(variable))


class _Swapped:
    def __init__(self, sources, averages):
        self.sources, self.averages = sources, averages

    def __enter__(self):
        self.own = [keras.ops.convert_to_numpy(v) for v in self.sources]
        for source, average in zip(self.sources, self.averages, strict=True):
            source.assign(keras.ops.convert_to_numpy(average))

    def __exit__(self, *_):
        for source, own in zip(self.sources, self.own, strict=True):
            source.assign(own)
