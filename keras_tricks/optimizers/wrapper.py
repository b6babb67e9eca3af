"""The only file that depends on Keras' optimizer life cycle: build, variables, learning rate, iterations, stateless use
on JAX, replicas on TensorFlow, serialization, nesting. The private Keras names below were read in Keras 3.15.1;
`tests/optimizers/test_wrapper.py` fails when one of them changes.

Keras passes the gradient of one replica to an optimizer and sums over replicas inside the innermost update. A trick
whose paper uses the gradient of the whole batch would then clip, check or average the wrong gradient. Here the
outermost wrapper sums once, and nothing inside it sums again.
"""

import warnings

import keras

from keras_tricks.ops.all_finite import all_finite
from keras_tricks.optimizers.combinations import check_clipping, check_not_built, refuse_arguments
from keras_tricks.utils.errors import UserError

KERAS_VERSION = "3.15.1"  # in which the private names were read


def variable_index(optimizer, variable):
    """The position of `variable` among the variables the optimizer was built with.

    On TensorFlow `update_step` receives the `tf.Variable` of one replica; Keras maps it to its container.
    """
    return optimizer._get_variable_index(variable)


def has_decoupled_decay(optimizer, variable):
    """Whether an optimizer of Keras applies its own, decoupled weight decay to a variable."""
    return bool(optimizer.weight_decay) and optimizer._use_weight_decay(variable)


def nested(optimizer):
    """An optimizer and those inside it, the outermost first."""
    while isinstance(optimizer, keras.optimizers.Optimizer):
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def find_wrapper(optimizer, kind):
    """The outermost optimizer of class `kind` among an optimizer and those inside it, or `None`."""
    return next((found for found in nested(optimizer) if isinstance(found, kind)), None)


def innermost(optimizer):
    """The optimizer inside all wrappers."""
    *_, last = nested(optimizer)
    return last


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Base class of tricks around an update. A trick overrides `step`, `after_update` or both.

    `step` changes the gradient before an update. `after_update` changes the weights after it.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer` or another wrapper. Do not use it outside this wrapper
            afterwards: it no longer sums over replicas.
        name: as in Keras.
    """

    def __init__(self, inner_optimizer, name=None, **kwargs):
        inner_optimizer = _optimizer(inner_optimizer)
        refuse_arguments(type(self).__name__, kwargs)
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = disable_inner_reduction(inner_optimizer)
        self.outermost = True
        self.copies = []
        self.check_finite = False
        self._ready = True

    def step(self, gradients, variables):
        """Transforms the global gradient.

        Args:
            gradients: list of tensors, summed over replicas and unscaled; `None` for a variable without a gradient.
            variables: the variables, in the same order.

        Returns:
            `(gradients, proceed)`: the gradients to pass on, and whether to update, a bool scalar or `None` for always.
        """
        return gradients, None

    def after_update(self, variables):
        """Runs after each update of `inner_optimizer`: not after a batch that is only accumulated, or a skipped step.

        Args:
            variables: the variables, with their new values. Change them, and variables of this wrapper, with
                `assign_all`.
        """

    def add_copies(self, variables, name):
        """Adds a variable for each of `variables` that starts at its value. Call it in `build`.

        Values assigned to the weights before the first update, such as those of a file, are copied too.
        """
        copies = self.add_optimizer_variables(variables, name)
        for copy, variable in zip(copies, variables, strict=True):
            copy.assign(keras.ops.copy(variable))  # JAX donates buffers, so none may be shared
        self.copies.append(copies)
        return copies

    # --- one update ---------------------------------------------------------------------------------------------

    def apply(self, grads, trainable_variables=None):
        if not self.built:
            self.build(list(trainable_variables))
        known = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        grads = list(grads)
        if self.outermost:
            grads = sum_over_replicas(grads)
        if self.copies:
            run_if(keras.ops.equal(self.iterations, 0), self._copy_weights, (),
                   [*self._trainable_variables, *sum(self.copies, [])])
        grads, proceed = self.step(grads, known)
        if self.check_finite:
            finite = all_finite(grads)
            proceed = finite if proceed is None else keras.ops.logical_and(proceed, finite)
        if proceed is None:
            self._update(grads, trainable_variables)
            return
        optimizer = self if self._acts_after_updates() else self.inner_optimizer
        run_if(proceed, lambda gradients: self._update(gradients, trainable_variables), (grads,),
               [*known, *optimizer.variables])

    def _update(self, grads, trainable_variables):
        """One update of the optimizer inside, and `after_update` if it did update."""
        inner = self.inner_optimizer
        before = keras.ops.copy(inner.iterations)  # `convert_to_tensor` gives the variable itself on TensorFlow
        inner.apply(grads, trainable_variables)
        if not self._acts_after_updates():
            return
        known = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        if isinstance(inner, OptimizerWrapper) or inner.gradient_accumulation_steps:  # may not have updated
            run_if(inner.iterations > before, lambda: self.after_update(known), (), [*known, *self.variables])
        else:
            self.after_update(known)

    def _acts_after_updates(self):
        return type(self).after_update is not OptimizerWrapper.after_update

    def _copy_weights(self):
        for copies in self.copies:
            self.assign_all(copies, [keras.ops.copy(v) for v in self._trainable_variables])

    def assign_all(self, variables, values):
        """Assigns `values`, equal on all replicas, to variables of this wrapper or weights, without summing them."""
        if keras.backend.backend() == "tensorflow":
            _assign_on_replicas(variables, values)
        else:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    # --- life cycle ---------------------------------------------------------------------------------------------

    def build(self, variables):
        if self.built:
            return
        check_clipping(innermost(self))
        self.inner_optimizer.build(variables)
        super().build(variables)
        if self.check_finite:
            warnings.warn(
                f"{type(self).__name__} runs inside Keras' LossScaleOptimizer, which checks only the first replica. "
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
        check_not_built(innermost(self))
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def __setattr__(self, name, value):
        # Keras' LossScaleOptimizer sets this attribute on the optimizer it wraps; nothing else reveals it.
        if name == "loss_scale_factor" and getattr(self, "_ready", False):
            self.check_finite = True
        super().__setattr__(name, value)

    def get_config(self):
        return {"name": self.name, "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(config.pop("inner_optimizer"), custom_objects)
        return cls(inner, **config)


def disable_inner_reduction(optimizer):
    """Stops an optimizer that receives global gradients from summing them over replicas again."""
    if isinstance(optimizer, OptimizerWrapper):
        optimizer.outermost = False
    elif isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise UserError("LossScale must be the outermost optimizer: write LossScale(AGC(SGD(...))).")
    elif keras.backend.backend() == "tensorflow":
        optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    return optimizer


def _optimizer(identifier):
    optimizer = keras.optimizers.get(identifier)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(f"`inner_optimizer` must be a Keras optimizer. Received: {identifier!r}")
    return optimizer


# --- replicas: TensorFlow ---------------------------------------------------------------------------------------


def sum_over_replicas(gradients):
    """Gradients summed over all replicas and workers in one all-reduce group; `None` entries remain."""
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


def run_if(condition, function, tensors, state):
    """Calls `function(*tensors)` if `condition`, a bool scalar equal on all replicas, is true.

    `state`: the variables it reads or changes.
    """
    if keras.backend.backend() == "tensorflow":
        _run_if_tensorflow(condition, function, tensors)
    else:
        _run_if_functional(condition, function, tensors, state)


def _run_if_tensorflow(condition, function, tensors):
    import tensorflow as tf

    def done(_):
        return tf.constant(True)

    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        tf.cond(condition, lambda: done(function(*tensors)), lambda: tf.constant(True))
        return

    # A replica must not branch around a merge call, so one branch is taken for all replicas together.
    def for_all(strategy, condition, tensors):
        tf.cond(strategy.experimental_local_results(condition)[0],
                lambda: done(strategy.extended.call_for_each_replica(function, args=tensors)),
                lambda: tf.constant(True))

    tf.distribute.get_replica_context().merge_call(for_all, args=(condition, tensors))


# --- JAX, torch -------------------------------------------------------------------------------------------------


def _run_if_functional(condition, function, tensors, state):
    """Writes the call as a function from old to new values, so that JAX can trace both branches."""
    before = [keras.ops.convert_to_tensor(v) for v in state]

    def run():
        with keras.StatelessScope(state_mapping=list(zip(state, before, strict=True))) as scope:
            function(*tensors)
        return [scope.get_current_value(v) for v in state]

    for variable, value in zip(state, keras.ops.cond(condition, run, lambda: before), strict=True):
        variable.assign(value)
