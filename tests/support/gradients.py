"""The gradient of a function of a tensor on the backend of the tests."""

import keras
import numpy as np


def gradient(function, x):
    """d sum(function(x)) / dx as an array; on JAX under jit, on TensorFlow in a graph."""
    x = keras.ops.convert_to_tensor(x)
    match keras.backend.backend():
        case "jax":
            import jax

            return np.asarray(jax.jit(jax.grad(lambda x: keras.ops.sum(function(x))))(x))
        case "tensorflow":
            import tensorflow as tf

            @tf.function
            def of(x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    total = keras.ops.sum(function(x))
                return tape.gradient(total, x)

            return of(x).numpy()
        case "torch":
            x = x.detach().requires_grad_()
            keras.ops.sum(function(x)).backward()
            return keras.ops.convert_to_numpy(x.grad)
