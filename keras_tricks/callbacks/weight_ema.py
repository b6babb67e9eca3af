"""Exponential moving average of all weights, batch-norm statistics included.

Formula    a <- d * a + (1 - d) * w after every update, d = min(decay, (1 + t) / (10 + t)), t = updates so far
Paper      Polyak & Juditsky 1992; ramp and decay: Brock et al. 2021, arXiv:2102.06171, appendix A (0.99999)
Recipe     weight_ema: optimizer.ema_decay=0.9999
Use when   long runs; ResNet-RS uses 0.9999, NFNets 0.99999
Do not     judge a short run by its average with a decay near 1: that is what the ramp is for
Cost       one copy of the weights; 1.027 of a ResNet-50 step (n = 9, 2 cores; `benchmarks/optimizer_cost.py`)
Differs    from Keras' `use_ema`: averages batch-norm statistics too, never swaps the weights silently, advances once
           per update under gradient accumulation
Status     equal to the formula on 1, 2 and 4 replicas (tests/contracts)
"""

import contextlib

import keras
import numpy as np


def ema_decay(updates, decay):
    """The decay at update `updates` (1, 2, ...): the smaller of `decay` and `(1 + t) / (10 + t)`."""
    return keras.ops.minimum(decay, (1.0 + updates) / (10.0 + updates))


class WeightEMA(keras.callbacks.Callback):
    """Keeps an average of every float variable of the model and evaluates it beside the weights.

    Args:
        decay: float in [0, 1). Defaults to `0.9999`.
        validation_data: data set to evaluate the average on at the end of each epoch; results are logged as
            `val_ema_<name>`. Defaults to `None`: not evaluated.
        evaluate_every: integer > 0, epochs between evaluations. Defaults to `1`.

    `averages` are the variables that hold the average, in the order of `model.variables` (floats only).
    `swapped()` is a context in which the model has the averaged weights.
    """

    def __init__(self, decay=0.9999, validation_data=None, evaluate_every=1):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay}")
        self.decay, self.validation_data, self.evaluate_every = decay, validation_data, evaluate_every
        self.averages, self.sources, self.last = [], [], None

    def on_train_begin(self, logs=None):
        if getattr(self.model, "steps_per_execution", 1) != 1:
            raise ValueError("WeightEMA averages after every update and needs steps_per_execution=1.")
        self.build(self.model)

    def build(self, model):
        """Starts the average at the model's weights. Done by `fit`; before it, to restore `variables` from a file."""
        if self.averages:
            return
        self.set_model(model)
        network = getattr(model, "student", model)  # a distiller's teacher does not move
        self.sources = [v for v in network.variables if "float" in v.dtype]
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            self.averages = [
                keras.Variable(_copy(v), trainable=False, dtype=v.dtype, name=f"{v.path.replace('/', '_')}_average")
                for v in self.sources
            ]
            updates = _copy(model.optimizer.iterations)
            self.last = keras.Variable(updates, dtype="int", trainable=False, name="last_update")
        self._advance = self._tensorflow() if keras.backend.backend() == "tensorflow" else self._anywhere

    def start(self):
        """Starts the average anew, at the weights of this moment."""
        for average, source in zip(self.averages, self.sources, strict=True):
            average.assign(_copy(source))
        self.last.assign(_copy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        self._advance()

    def _tensorflow(self):
        import tensorflow as tf

        strategy = self.model.distribute_strategy

        def blend(average, source, decay):
            source = tf.convert_to_tensor(source)
            average.assign_sub((average - source) * tf.cast(1.0 - decay, average.dtype))

        @tf.function
        def advance():
            updates = tf.convert_to_tensor(self.model.optimizer.iterations)
            decay = tf.where(updates > self.last.value, ema_decay(tf.cast(updates, tf.float32), self.decay), 1.0)
            for average, source in zip(self.averages, self.sources, strict=True):
                strategy.extended.update(average.value, blend, (source.value, decay))
            self.last.assign(updates)

        return advance

    def _anywhere(self):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        updates = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        if updates <= int(keras.ops.convert_to_numpy(self.last)):
            return
        decay = ema_decay(float(updates), self.decay)
        for average, source in zip(self.averages, self.sources, strict=True):
            average.assign(decay * average + (1.0 - decay) * keras.ops.convert_to_tensor(source))
        self.last.assign(updates)

    @property
    def variables(self):
        """{path of the averaged variable: average}, and the update it was last advanced at under `last_update`."""
        paths = (v.path for v in self.sources)
        return {**dict(zip(paths, self.averages, strict=True)), "last_update": self.last}

    def swapped(self):
        """A context in which the model holds the averaged weights; it has its own back afterwards."""
        return _Swapped(self.sources, self.averages)

    def on_epoch_end(self, epoch, logs=None):
        if self.validation_data is None or (epoch + 1) % self.evaluate_every:
            return
        with self.swapped():
            values = self.model.evaluate(self.validation_data, verbose=0, return_dict=True)
        if logs is not None:
            logs.update({f"val_ema_{name}": value for name, value in values.items()})


def _copy(variable):
    """The numbers, in memory of their own: JAX frees the buffers it was handed."""
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
