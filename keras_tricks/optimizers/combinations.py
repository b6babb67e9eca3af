"""Which optimizers may be combined. Each check raises an error that names the other half (see docs/combining.md)."""

from keras_tricks.utils.backend import batch_is_divided, number_of_replicas
from keras_tricks.utils.errors import UserError

CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")


def replicas():
    """Number of replicas of the current strategy; 1 on other backends, where a batch has one gradient."""
    return number_of_replicas() if batch_is_divided() else 1


def clipping_of(optimizer):
    """The clipping argument of a Keras optimizer that is set, such as `"clipnorm"`, or `None`."""
    return next((argument for argument in CLIPPING if getattr(optimizer, argument) is not None), None)


def check_clipping(optimizer):
    """Rejects Keras' clipping and accumulation on more than one replica, where they are wrong or crash."""
    count, clipping = replicas(), clipping_of(optimizer)
    if count == 1:
        return
    if clipping is not None:
        raise UserError(f"`{clipping}` of {type(optimizer).__name__} clips the gradient of each replica before "
                        f"they are summed, so {count} replicas do not train as one device. Use kt.optimizers.AGC.")
    if optimizer.gradient_accumulation_steps:
        raise UserError(f"`gradient_accumulation_steps` of {type(optimizer).__name__} fails on {count} replicas. "
                        "Use kt.optimizers.GradientAccumulation(optimizer, steps).")


def check_not_built(optimizer):
    """Rejects an exclusion from weight decay that a built optimizer would ignore: its update is compiled already."""
    if optimizer.built:
        raise UserError("`exclude_from_weight_decay` has no effect once the optimizer is built: call it before "
                        "`compile` and `fit`, on a new optimizer.")


def refuse_arguments(name, arguments):
    """Rejects arguments of `keras.optimizers.Optimizer` that a wrapper would ignore: it does not update itself."""
    given = [argument for argument, value in arguments.items() if value not in (None, False)]
    if given:
        raise UserError(f"{name} ignores `{given[0]}`: pass it to the optimizer inside.")
