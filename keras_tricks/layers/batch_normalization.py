"""Batch normalization with TensorFlow's fused kernel while training.

Formula    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, moving <- momentum * moving + (1 - momentum) * batch
Paper      Ioffe & Szegedy 2015, arXiv:1502.03167
Recipe     always on in networks with batch normalization
Use when   any Keras model trained on the TensorFlow backend
Do not     expect a gain at inference: there Keras' own composed form is already folded by the graph optimizer
Cost       less than Keras': one kernel instead of moments, casts and arithmetic over whole activations
           (`benchmarks/train_step.py`). float16 activations stay float16; statistics are float32
Differs    nothing in the numbers: the kernel's unbiased variance is turned back into the biased one Keras keeps
Status     used by every model of the zoo; equal to `keras.layers.BatchNormalization` to 1e-5 (tests/layers)
"""

import keras


@keras.saving.register_keras_serializable(package="keras_tricks")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, trained through TensorFlow's fused kernel.

    Arguments, weights, saving and results are those of the Keras layer. The fused kernel is used on the TensorFlow
    backend, while training, for 4-D inputs with `axis` the last, without mask or `renorm`, and unless `synchronized`
    has several replicas to synchronize; in every other case Keras' own code runs.

    Input shape: `(batch, height, width, channels)` (any rank on Keras' path). Output shape: as the input.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and mask is None and self.can_fuse(inputs)):
            return super().call(inputs, training=training, mask=mask)
        return self.fused(inputs)

    def can_fuse(self, inputs):
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not (self.renorm or (self.synchronized and self._several_replicas()))
            and keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
        )

    def _several_replicas(self):
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync > 1

    def fused(self, inputs):
        outputs, mean, variance = self.fused_kernel(inputs)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + keras.ops.cast(batch, moving.dtype) * (1.0 - self.momentum))
        return outputs

    def fused_kernel(self, inputs):
        """Normalized inputs, and their mean and biased variance by channel, float32."""
        import tensorflow as tf

        ops = keras.ops
        channels = inputs.shape[-1]
        gamma = ops.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = ops.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, tf.cast(gamma, "float32"), tf.cast(beta, "float32"), epsilon=self.epsilon, is_training=True
        )
        # The kernel returns the variance divided by n - 1 (n when n is 1); Keras keeps the one divided by n.
        count = tf.cast(tf.size(inputs) // channels, "float32")
        return outputs, mean, variance * (tf.maximum(count - 1.0, 1.0) / count)
