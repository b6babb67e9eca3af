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
