"""Batch normalization with TensorFlow's fused kernel in training.

Formula    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, moving <- momentum * moving + (1 - momentum) * batch
Paper      Ioffe & Szegedy 2015, arXiv:1502.03167
Recipe     always on in networks with batch normalization
Use when   any Keras model trained on the TensorFlow backend
Do not     expect a gain at inference, where the graph optimizer already folds Keras' composed form
Cost       less than Keras': one kernel instead of moments, casts and arithmetic over whole activations
           (`benchmarks/train_step.py`). float16 activations stay float16; statistics are float32
Differs    nothing in the numbers: the kernel's unbiased variance is converted to the biased one that Keras keeps
Status     used by every model of the zoo; equal to `keras.layers.BatchNormalization` to 1e-5 (tests/layers)
"""

from typing import Any

import keras

from keras_tricks.utils.backend import batch_is_divided, number_of_replicas


@keras.saving.register_keras_serializable(package="keras_tricks")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, trained through TensorFlow's fused kernel.

    Arguments, weights, saving and results are those of the Keras layer. The fused kernel runs on the TensorFlow
    backend, in training, for 4-D inputs whose last axis is `axis`, without a mask or `renorm`, unless `synchronized` is
    set on several replicas. In all other cases Keras' code runs.

    `synchronized` is accepted on every backend. Keras accepts it on TensorFlow only, where each replica would use the
    statistics of its own images. Elsewhere a batch is one array, and statistics are always those of all devices.

    Input shape: `(batch, height, width, channels)` (any rank in Keras' code). Output shape: as the input.
    """

    def __init__(self, *args: Any, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, synchronized=synchronized and batch_is_divided(), **kwargs)
        self.requested_synchronized = bool(synchronized)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "synchronized": self.requested_synchronized}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self.trainable and mask is None and self.can_fuse(inputs):
            return self.fused(inputs)
        if training and self.trainable and mask is None and self.can_pack(inputs):
            return self.packed(inputs)
        return super().call(inputs, training=training, mask=mask)

    def can_pack(self, inputs: Any) -> bool:
        """Whether statistics of several replicas are wanted, and can be summed in one operation."""
        last = self.axis in (-1, len(inputs.shape) - 1)
        return self.synchronized and last and not self.renorm and number_of_replicas() > 1

    def packed(self, inputs: Any) -> Any:
        """Normalized inputs, by statistics of all replicas: one sum forward and one backward (Keras: three and two)."""
        ops = keras.ops
        mean, variance = packed_moments(inputs)
        self._move(mean, variance)
        gamma, beta = (self.gamma if self.scale else None), (self.beta if self.center else None)
        outputs = ops.batch_normalization(ops.cast(inputs, "float32"), mean, variance, -1, beta, gamma, self.epsilon)
        return ops.cast(outputs, inputs.dtype)

    def can_fuse(self, inputs: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not (self.renorm or (self.synchronized and number_of_replicas() > 1))
            and keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
        )

    def fused(self, inputs: Any) -> Any:
        outputs, mean, variance = self.fused_kernel(inputs)
        self._move(mean, variance)
        return outputs

    def _move(self, mean, variance):
        """Moves the moving statistics towards those of the batch."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + keras.ops.cast(batch, moving.dtype) * (1.0 - self.momentum))

    def fused_kernel(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Normalized inputs, and their mean and biased variance per channel in float32."""
        import tensorflow as tf

        ops = keras.ops
        channels = inputs.shape[-1]
        gamma = ops.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = ops.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, tf.cast(gamma, "float32"), tf.cast(beta, "float32"), epsilon=self.epsilon, is_training=True
        )
        # The kernel divides the variance by n - 1 (by n when n is 1); Keras divides by n.
        count = tf.cast(tf.size(inputs) // channels, "float32")
        return outputs, mean, variance * (tf.maximum(count - 1.0, 1.0) / count)


def packed_moments(inputs: Any) -> tuple[Any, Any]:
    """Mean and biased variance per channel over all replicas, float32 `(channels,)`.

    Sum, sum of squares and count travel in one tensor. As in Keras, the variance is E[x^2] - E[x]^2.
    """
    import tensorflow as tf

    x = tf.cast(inputs, tf.float32)
    axes, channels = list(range(len(x.shape) - 1)), x.shape[-1]
    count = tf.cast(tf.size(x) // channels, tf.float32)
    local = tf.concat([tf.reduce_sum(x, axes), tf.reduce_sum(tf.square(x), axes), count[None]], 0)
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, local)
    mean, squares = total[:channels] / total[-1], total[channels:-1] / total[-1]
    return mean, tf.maximum(squares - tf.square(mean), 0.0)
