"""Describes an optimizer from the object itself: its class, momentum and decay, and the wrappers around it."""

import math

import keras

from keras_tricks.optimizers.agc import AGC
from keras_tricks.optimizers.gradient_accumulation import GradientAccumulation
from keras_tricks.optimizers.lookahead import Lookahead
from keras_tricks.optimizers.sgd import SGD
from keras_tricks.optimizers.wrapper import has_decoupled_decay, innermost, nested, variable_index

MOMENTS = ("beta_1", "beta_2", "rho", "centered", "amsgrad")  # of Keras' optimizers, where they have them
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")


def describe(optimizer: keras.optimizers.Optimizer) -> str:
    """One line of text, such as `"SGD, Nesterov momentum 0.9, weight decay 0.0001 (coupled), AGC 0.01"`.

    A learning rate of 0, as before a scheduler sets it, is omitted. Wrappers follow, the innermost first.

    Args:
        optimizer: `keras.optimizers.Optimizer`, with or without wrappers.
    """
    inner = innermost(optimizer)
    parts = [type(inner).__name__, *_rate(inner), *_momentum(inner), *_decay(inner), *_keras_arguments(inner)]
    for wrapper in reversed(list(nested(optimizer))[:-1]):
        parts.append(_wrapper(wrapper))
    return ", ".join(parts)


def is_decayed(optimizer, variable):
    """Whether a built optimizer applies weight decay, coupled or decoupled, to one of its variables."""
    inner = innermost(optimizer)
    if isinstance(inner, SGD):
        return inner.decays[variable_index(inner, variable)] > 0
    return has_decoupled_decay(inner, variable)


def slots(optimizer, variables):
    """Optimizer variables per weight of a built optimizer: 1 for SGD with momentum, 2 for Adam, 1 more for a sum."""
    count = lambda found: sum(math.prod(v.shape) for v in found)  # noqa: E731
    return round(count(optimizer.variables) / count(variables))


def _rate(optimizer):
    rate = optimizer.learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return [f"learning rate from {type(rate).__name__}"]
    rate = float(keras.ops.convert_to_numpy(rate))
    return [f"learning rate {rate:g}"] if rate else []


def _momentum(optimizer):
    momentum = getattr(optimizer, "momentum", None)
    if isinstance(momentum, (int, float)) and momentum:
        return [f"{'Nesterov ' if getattr(optimizer, 'nesterov', False) else ''}momentum {momentum:g}"]
    return []


def _decay(optimizer):
    if isinstance(optimizer, SGD):
        decay = optimizer.coupled_weight_decay
        return [f"weight decay {decay:g} (coupled)"] if decay else ["no weight decay"]
    decay = optimizer.weight_decay
    return [f"weight decay {decay:g} (decoupled)"] if decay else ["no weight decay"]


def _keras_arguments(optimizer):
    found = []
    for name in (*MOMENTS, *CLIPPING):
        value = getattr(optimizer, name, None)
        if isinstance(value, bool):
            found += [name] if value else []
        elif isinstance(value, (int, float)):
            found.append(f"{name} {value:g}")
    if steps := getattr(optimizer, "gradient_accumulation_steps", None):
        found.append(f"gradient_accumulation_steps {steps}")
    return found


def _wrapper(wrapper):
    if isinstance(wrapper, AGC):
        return f"AGC {wrapper.clip_factor:g}"
    if isinstance(wrapper, GradientAccumulation):
        return f"accumulation of {wrapper.steps} batches"
    if isinstance(wrapper, Lookahead):
        return f"Lookahead {wrapper.slow_step_size:g} every {wrapper.sync_period} updates"
    if isinstance(wrapper, keras.optimizers.LossScaleOptimizer):
        if wrapper.initial_scale == 1.0:
            return "skips non-finite updates"
        return f"loss scale {wrapper.initial_scale:g}"
    return type(wrapper).__name__
