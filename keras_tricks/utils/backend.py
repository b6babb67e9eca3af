"""Properties of the Keras backend that its API does not provide, for layers and callbacks."""

import functools

import keras


def on_tensorflow():
    """Whether Keras runs on TensorFlow, whose `fit` reads `tf.data` in a graph."""
    return keras.backend.backend() == "tensorflow"


def number_of_replicas():
    """Replicas of the current `tf.distribute` strategy; on JAX the devices of `keras.distribution`; otherwise 1."""
    if on_tensorflow():
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    return 1 if distribution is None else distribution.device_mesh.devices.size


def batch_is_divided():
    """Whether a layer sees only the part of the batch on its replica, as under TensorFlow's strategies.

    On other backends a batch is one array, and its statistics cover all devices.
    """
    return on_tensorflow()


def compiled(function):
    """A function of arrays, compiled on JAX; elsewhere the function itself."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def in_one_pass(function):
    """An elementwise function of float tensors as one loop over memory, computed in float32 or wider.

    TensorFlow's CPU kernels make one pass for every operation of a formula, and those for bfloat16 and float16 have no
    vector instructions. XLA compiles the formula, once for every shape. Other backends compile the whole step, and on a
    GPU so does `train.jit_compile`: the function itself is returned there.

    Args:
        function: takes tensors of one shape and dtype and returns such a tensor.
    """
    if not on_tensorflow() or not _xla_on_cpu():
        return function
    import tensorflow as tf

    @tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
    def one_pass(*tensors):
        dtype = tensors[0].dtype
        wide = tf.float32 if dtype.size < 4 else dtype
        return tf.cast(function(*(tf.cast(tensor, wide) for tensor in tensors)), dtype)

    return one_pass


@functools.cache
def _xla_on_cpu():
    """Whether the CPU is the only device and this build of TensorFlow compiles for it."""
    import tensorflow as tf

    if {device.device_type for device in tf.config.list_physical_devices()} != {"CPU"}:
        return False
    try:
        with tf.init_scope():  # also when asked while a graph is traced
            return float(tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(1.0))) == 2.0
    except tf.errors.OpError:
        return False


def upstream_of(positional, keywords):
    """The upstream gradient among the arguments that `keras.ops.custom_gradient` passes.

    By name on torch, where the others are the inputs; by position elsewhere.
    """
    return keywords["upstream"] if "upstream" in keywords else positional[0]


def gradients_of(function, tensors):
    """The gradients of a function of a list of tensors that returns a scalar, on any backend, also while one is traced.

    Args:
        function: takes the list of tensors, returns a scalar tensor.
        tensors: list of float tensors.

    Returns:
        A list of tensors, zeros where the scalar does not depend on one.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.grad(function)(tensors)
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]  # from a variable, its value
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            scalar = function(tensors)
        return tape.gradient(scalar, tensors, unconnected_gradients="zero")
    import torch

    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(function(leaves), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]
