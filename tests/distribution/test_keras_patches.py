"""The faults of Keras that we patch still exist, and the patches work. A failure here means that Keras changed."""

import types

import keras
import pytest

tf = pytest.importorskip("tensorflow")

from support import replicas  # noqa: E402

from keras_tricks import distribution  # noqa: E402

trainer = pytest.importorskip("keras.src.backend.tensorflow.trainer")


def times_started(patched):
    """How often `fit` starts its data set, which is read in one pass."""
    distribution.apply_patches()
    build = trainer.TensorFlowTrainer._maybe_symbolic_build
    strategy = distribution.strategy("mirrored", logical_devices=4)
    with strategy.scope():
        model = replicas.network()
        model.compile(replicas.sgd(), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    starts = []

    def generate():
        starts.append(1)
        yield from replicas.batches(steps=4)

    specification = replicas.batches(steps=4).element_spec
    data = tf.data.Dataset.from_generator(generate, output_signature=specification)
    try:
        if not patched:
            trainer.TensorFlowTrainer._maybe_symbolic_build = build.__wrapped__
        model.fit(data, steps_per_epoch=2, epochs=2, verbose=0, shuffle=False)
    finally:
        trainer.TensorFlowTrainer._maybe_symbolic_build = build
    assert int(model.optimizer.iterations.numpy()) == 4
    return len(starts)


def test_shapes_come_from_the_specification():
    assert times_started(patched=True) == 1


def test_keras_still_reads_a_batch_for_its_shapes():
    assert times_started(patched=False) == 2, "Keras changed: check whether the patch is still needed"


def test_scalars_are_averaged_over_no_axis():
    """The patched function calls the strategy of several workers with `axis=None`."""
    calls = []

    class Workers(tf.distribute.MultiWorkerMirroredStrategy):
        def __init__(self):
            self._extended = types.SimpleNamespace(_in_multi_worker_mode=lambda: True)

        def reduce(self, op, value, axis):
            calls.append((op, axis))
            return value

    distribution.apply_patches()
    value = tf.constant(1.0)
    assert trainer.reduce_per_replica({"loss": value}, Workers(), "auto")["loss"] is value
    assert calls == [("MEAN", None)]
    calls.clear()
    trainer.reduce_per_replica.__wrapped__({"loss": value}, Workers(), "auto")
    assert calls == [("MEAN", 0)], "Keras changed: check whether the patch is still needed"


def test_keras_still_draws_the_same_on_every_replica():
    strategy = distribution.strategy("mirrored", logical_devices=4)
    generator_class = keras.random.SeedGenerator
    patched = generator_class.next

    def draws():
        with strategy.scope():
            generator = generator_class(1)
        seeds = strategy.run(tf.function(lambda: generator.next()))
        return {tuple(s.numpy()) for s in strategy.experimental_local_results(seeds)}

    try:
        assert len(draws()) == 4
        generator_class.next = patched.__wrapped__
        assert len(draws()) == 1, "Keras changed: check whether the patch is still needed"
    finally:
        generator_class.next = patched


def test_private_names_are_there():
    for name in ("_maybe_symbolic_build", "_symbolic_build"):
        assert hasattr(trainer.TensorFlowTrainer, name)
    assert hasattr(keras.optimizers.Optimizer, "_all_reduce_sum_gradients")
    assert hasattr(keras.optimizers.Optimizer, "_get_variable_index")
