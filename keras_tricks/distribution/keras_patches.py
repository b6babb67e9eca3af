"""Patches for three faults of Keras 3.15.1 that stop or distort training under a strategy. Each has a test in
`tests/distribution/test_keras_patches.py` that fails when Keras changes.

1. `fit` reads a first batch to learn its shapes, averages it over replicas and restarts the data set. With several
   workers the average fails. The patch takes the shapes from the specification of the data set and reads nothing twice.
2. With several workers, logs are averaged along an axis that scalars do not have. The patch averages over no axis.
3. Random layers draw the same numbers on every replica: dropout drops the same units for image 1 and image 1 + B / N.
   The patch gives every replica a different seed.
"""

import functools

import keras

REPLICA_STRIDE = 1_000_000_007  # separates the seeds of replicas: those of Keras are below 1e9


@functools.cache
def apply_patches() -> None:
    """Applies the patches, once per process. Does nothing on backends other than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return
    from keras.src.backend.tensorflow import trainer
    from keras.src.random import seed_generator

    trainer.TensorFlowTrainer._maybe_symbolic_build = _build_from_specification(
        trainer.TensorFlowTrainer._maybe_symbolic_build)
    trainer.reduce_per_replica = _average_scalars(trainer.reduce_per_replica)
    seed_generator.SeedGenerator.next = _seed_of_replica(seed_generator.SeedGenerator.next)


def _build_from_specification(original):
    """Fault 1."""

    @functools.wraps(original)
    def build(self, iterator=None, data_batch=None):
        if iterator is None or self._distribute_strategy is None:
            return original(self, iterator=iterator, data_batch=data_batch)
        specification = keras.tree.map_structure(_of_one_replica, iterator._distributed_dataset.element_spec)
        with self._distribute_strategy.scope():
            self._symbolic_build(data_batch=specification)

    return build


def _of_one_replica(specification):
    """The `TensorSpec` of a value, or that of its first replica if it is a per-replica value."""
    return specification if hasattr(specification, "shape") else specification._value_specs[0]


def _average_scalars(original):
    """Fault 2."""

    @functools.wraps(original)
    def reduce(values, strategy, reduction):
        import tensorflow as tf

        several_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if not several_workers or reduction not in ("auto", "mean"):
            return original(values, strategy, reduction)
        return keras.tree.map_structure(lambda v: strategy.reduce("MEAN", v, axis=None), values)

    return reduce


def _seed_of_replica(original):
    """Fault 3."""

    @functools.wraps(original)
    def next_seed(self, ordered=True):
        import tensorflow as tf

        seed = original(self, ordered)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return seed
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([replica * tf.cast(REPLICA_STRIDE, seed.dtype), tf.zeros_like(replica)])

    return next_seed
