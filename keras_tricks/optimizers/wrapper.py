"""The only file that knows Keras' optimizer life cycle: build, variables, learning rate, iterations, stateless use on
JAX, replicas on TensorFlow, serialization, nesting. Private Keras names below were read in Keras 3.15.1;
`tests/optimizers/test_wrapper.py` fails when one of them changes.

Keras hands an optimizer the gradient of one replica and sums over replicas inside the innermost update. A trick that
must see the gradient of the whole batch, as its paper says, then clips, checks or averages the wrong thing. Here the
outermost wrapper sums once, and nothing below it sums again.
"""

import warnings

import keras

from keras_tricks.utils.errors import UserError

LIVES_IN = "Keras 3.15.1"
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")


def variable_index(optimizer, variable):
    """The position of `variable` among those the optimizer was built with.

    On TensorFlow `update_step` receives a replica's own `tf.Variable`; Keras knows which container it belongs to.
    """
    return optimizer._get_variable_index(variable)


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Base of the tricks that change the gradient before an update. A trick overrides `step`.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer` or another wrapper. It belongs to this wrapper from here on: used
            alone, it would no longer sum over replicas.
        name: as in Keras.
    """

    def __init__(self, inner_optimizer, name=None, **kwargs):
        inner_optimizer = _optimizer(inner_optimizer)
        super().__init__(learning_rate=0.0, name=name, **kwargs)
        self.inner_optimizer = disable_inner_reduction(inner_optimizer)
        self.outermost = True
        self.check_finite = False
        self._ready = True

    def step(self, gradients, variables):
        """The trick: what happens to the global gradient.

        Args:
            gradients: list of tensors, summed over replicas and unscaled; `None` where a variable has none.
            variables: the variables, in the same order.

        Returns:
            `(gradients, proceed)`: the gradients handed on, and `None` to always update or a bool scalar.
        """
        return gradients, None

    # --- one update ---------------------------------------------------------------------------------------------

    def apply(self, grads, trainable_variables=None):
        if not self.built:
            self.build(list(trainable_variables))
        known = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        grads = list(grads)
        if self.outermost:
            grads = sum_over_replicas(grads)
        grads, proceed = self.step(grads, known)
        if self.check_finite:
            finite = all_finite(grads)
            proceed = finite if proceed is None else keras.ops.logical_and(proceed, finite)
        if proceed is None:
            self.inner_optimizer.apply(grads, trainable_variables)
        else:
            update_if(proceed, self.inner_optimizer, grads, trainable_variables, known)

    def assign_all(self, variables, values):
        """Sets variables of this wrapper to `values` that are equal on all replicas, without summing them again."""
        if keras.backend.backend() == "tensorflow":
            _assign_on_replicas(variables, values)
        else:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    # --- life cycle ---------------------------------------------------------------------------------------------

    def build(self, variables):
        if self.built:
            return
        check_clipping(self.inner_optimizer)
        self.inner_optimizer.build(variables)
        super().build(variables)
        if self.check_finite:
            warnings.warn(
                f"{type(self).__name__} runs inside Keras' LossScaleOptimizer, which looks at the first replica only. "
                "Steps whose global gradient is not finite are skipped, but the scale may stay too high: compile with "
                f"kt.optimizers.LossScale({type(self).__name__}(...)) instead.", stacklevel=2)

    @property
    def variables(self):
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        """Updates of the innermost optimizer."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def __setattr__(self, name, value):
        # Keras' LossScaleOptimizer sets this on what it wraps, and says so in no other way.
        if name == "loss_scale_factor" and getattr(self, "_ready", False):
            self.check_finite = True
        super().__setattr__(name, value)

    def get_config(self):
        return {"name": self.name, "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(config.pop("inner_optimizer"), custom_objects)
        return cls(inner, **config)


def disable_inner_reduction(optimizer):
    """Makes an optimizer one that is handed global gradients: it must not sum them over replicas again."""
    if isinstance(optimizer, OptimizerWrapper):
        optimizer.outermost = False
    elif isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise UserError("LossScale must be the outermost optimizer: write LossScale(AGC(SGD(...))), not the other way.")
    elif keras.backend.backend() == "tensorflow":
        optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    return optimizer


def _optimizer(identifier):
    optimizer = keras.optimizers.get(identifier)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(f"`inner_optimizer` must be a Keras optimizer. Received: {identifier!r}")
    return optimizer


def replicas():
    """Number of replicas of the current strategy; 1 on other backends than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def check_clipping(optimizer):
    """Refuses Keras' own clipping and accumulation on more than one replica, where they are wrong or crash."""
    count = replicas()
    if count == 1 or isinstance(optimizer, OptimizerWrapper):
        return
    for argument in CLIPPING:
        if getattr(optimizer, argument, None) is not None:
            raise UserError(f"`{argument}` of {type(optimizer).__name__} clips the gradient of each replica before "
                            f"they are summed, so {count} replicas do not train as one device. Use kt.optimizers.AGC.")
    if getattr(optimizer, "gradient_accumulation_steps", None):
        raise UserError(f"`gradient_accumulation_steps` of {type(optimizer).__name__} fails on {count} replicas. "
                        "Use kt.optimizers.GradientAccumulation(optimizer, steps).")


def all_finite(gradients):
    """Whether every number of every gradient is finite: a bool scalar."""
    flags = [keras.ops.all(keras.ops.isfinite(g)) for g in gradients if g is not None]
    return keras.ops.all(keras.ops.stack(flags))


# --- replicas: TensorFlow ---------------------------------------------------------------------------------------


def sum_over_replicas(gradients):
    """Gradients summed over all replicas and workers, in one all-reduce group; `None`s stay."""
    if keras.backend.backend() != "tensorflow":
        return gradients
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    present = [g for g in gradients if g is not None]
    if context is None or not present:
        return gradients
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if g is None else next(summed) for g in gradients]


def _assign_on_replicas(variables, values):
    import tensorflow as tf

    def update(strategy, values):
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable.value, lambda v, x: v.assign(tf.cast(x, v.dtype)), (value,), group=False)

    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy(), list(values))


def update_if(proceed, optimizer, gradients, passed_variables, variables):
    """Runs `optimizer.apply` when `proceed`, a bool scalar equal on all replicas, is true; else changes nothing."""
    if keras.backend.backend() == "tensorflow":
        _update_if_tensorflow(proceed, optimizer, gradients, passed_variables)
    else:
        _update_if_functional(proceed, optimizer, gradients, variables)


def _update_if_tensorflow(proceed, optimizer, gradients, variables):
    import tensorflow as tf

    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        tf.cond(proceed, lambda: _done(optimizer.apply(gradients, variables)), lambda: tf.constant(True))
        return

    # A replica may not branch around a merge, so the branch is taken once, for all replicas together.
    def for_all(strategy, proceed, gradients):
        def update():
            strategy.extended.call_for_each_replica(optimizer.apply, args=(gradients, variables))
            return tf.constant(True)

        tf.cond(strategy.experimental_local_results(proceed)[0], update, lambda: tf.constant(True))

    tf.distribute.get_replica_context().merge_call(for_all, args=(proceed, gradients))


def _done(_):
    import tensorflow as tf

    return tf.constant(True)


# --- JAX, torch -------------------------------------------------------------------------------------------------


def _update_if_functional(proceed, optimizer, gradients, variables):
    """The update as a function from old values to new ones, so that JAX can trace both branches."""
    state = [*variables, *optimizer.variables]
    before = [keras.ops.convert_to_tensor(v) for v in state]

    def update():
        with keras.StatelessScope(state_mapping=list(zip(state, before, strict=True))) as scope:
            optimizer.apply(gradients)
        return [scope.get_current_value(v) for v in state]

    for variable, value in zip(state, keras.ops.cond(proceed, update, lambda: before), strict=True):
        variable.assign(value)
