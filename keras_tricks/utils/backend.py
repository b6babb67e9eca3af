"""Properties of the Keras backend that its API does not provide, for layers and callbacks."""

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
