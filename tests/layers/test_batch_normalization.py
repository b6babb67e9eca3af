"""Our layer against `keras.layers.BatchNormalization`: the same numbers, with the fused kernel."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from keras_tricks.layers import BatchNormalization  # noqa: E402

SHAPES = [(8, 5, 5, 4), (3, 1, 1, 2), (2, 1, 1, 3), (1, 1, 1, 2)]  # small n pins the variance correction


def images(shape, seed=0, spread=3.0):
    return (np.random.default_rng(seed).normal(size=shape) * spread + 1.0).astype("float32")


def pair(shape, **kwargs):
    """Our layer and Keras', built, with the same random weights."""
    layers = [cls(**kwargs) for cls in (BatchNormalization, keras.layers.BatchNormalization)]
    rng = np.random.default_rng(7)
    for layer in layers:
        layer.build(shape)
    values = [rng.uniform(0.5, 2.0, size=w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(values)
    return layers


def step(layer, x):
    """Output and gradients of one training call."""
    x = tf.constant(x)
    variables = [w.value for w in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * images(x.shape, seed=1))
    return [y, *tape.gradient(loss, [x, *variables])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kwargs", [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 1e-5}])
def test_training_equals_keras(shape, kwargs):
    ours, theirs = pair(shape, **kwargs)
    x = images(shape)
    for mine, reference in zip(step(ours, x), step(theirs, x), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)
    for mine, reference in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), reference.numpy(), rtol=1e-5, atol=1e-5, err_msg=mine.path)
    assert not np.allclose(ours.moving_variance.numpy(), pair(shape, **kwargs)[0].moving_variance.numpy())


def test_small_epsilon_is_kept():
    shape = (8, 4, 4, 3)
    ours, theirs = pair(shape, epsilon=1e-7)
    x = np.random.default_rng(0).normal(size=shape).astype("float32") * 1e-3
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_inference_and_frozen_equal_keras_and_leave_the_statistics(training):
    shape = (4, 3, 3, 5)
    ours, theirs = pair(shape)
    ours.trainable = theirs.trainable = not training
    before = [w.numpy() for w in ours.weights]
    x = images(shape)
    np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), rtol=1e-5)
    for old, new in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_compute_dtype_and_float32_statistics(policy):
    layer = BatchNormalization(dtype=policy, momentum=0.0)
    x = images((8, 4, 4, 3), spread=100.0)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    assert {w.dtype for w in layer.weights} == {"float32"}
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=0.02, atol=0.2)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=0.02)
    np.testing.assert_allclose(tf.cast(y, "float32"), (x - mean) / np.sqrt(variance + 1e-3), atol=0.05)


def test_statistics_are_not_rounded_to_float16():
    layer = BatchNormalization(dtype="mixed_float16", momentum=0.0)
    layer(np.full((4, 8, 8, 1), 300.0, "float32") + np.arange(4).reshape(4, 1, 1, 1), training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [301.5], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [1.25], rtol=1e-4)


def kernels(layer, shape, training=True, dtype="float32"):
    """Types of the operations in the traced graph."""
    layer.build(shape)
    traced = tf.function(lambda x: layer(x, training=training))
    graph = traced.get_concrete_function(tf.TensorSpec((None, *shape[1:]), dtype)).graph
    return {op.type for op in graph.get_operations()}


def fused(found):
    return any(kind.startswith("FusedBatchNorm") for kind in found)


def test_the_fused_kernel_is_used_in_training():
    assert fused(kernels(BatchNormalization(), (2, 4, 4, 3)))
    assert fused(kernels(BatchNormalization(dtype="mixed_float16"), (2, 4, 4, 3)))
    assert not fused(kernels(keras.layers.BatchNormalization(), (2, 4, 4, 3)))


@pytest.mark.parametrize(
    "kwargs, shape, training",
    [({}, (2, 4, 4, 3), False), ({}, (8, 3), True), ({}, (2, 4, 3), True), ({}, (2, 4, 4, 4, 3), True),
     ({"axis": 1}, (2, 4, 4, 3), True)],
    ids=str,
)
def test_other_cases_fall_back_to_keras(kwargs, shape, training):
    assert not fused(kernels(BatchNormalization(**kwargs), shape, training))


def test_synchronized_is_fused_where_there_is_one_replica():
    assert fused(kernels(BatchNormalization(synchronized=True), (2, 4, 4, 3), True))


@pytest.mark.parametrize("kwargs, shape", [({}, (8, 3)), ({}, (2, 4, 3)), ({"axis": 1}, (2, 4, 4, 3))], ids=str)
def test_the_fallback_equals_keras(kwargs, shape):
    ours, theirs = pair(shape, **kwargs)
    for mine, reference in zip(step(ours, images(shape)), step(theirs, images(shape)), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance.numpy(), theirs.moving_variance.numpy(), rtol=1e-5)


def test_a_mask_is_honoured():
    x, mask = images((4, 3, 3, 2)), np.array([1, 1, 0, 0], bool).reshape(4, 1, 1) & np.ones((4, 3, 3), bool)
    ours, theirs = pair(x.shape)
    np.testing.assert_allclose(ours(x, training=True, mask=mask), theirs(x, training=True, mask=mask), rtol=1e-5)
    np.testing.assert_allclose(ours.moving_mean.numpy(), theirs.moving_mean.numpy(), rtol=1e-5)


def test_compiled_by_xla_equals_keras():
    ours, theirs = pair((6, 3, 3, 2))
    x = images((6, 3, 3, 2))
    compiled = tf.function(lambda x: ours(x, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(x), theirs(x, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance.numpy(), theirs.moving_variance.numpy(), rtol=1e-5)


def test_synchronized_statistics_take_one_sum_over_replicas(monkeypatch):
    """One forward and one backward where Keras takes three and two. All results are Keras' to rounding."""
    from keras_tricks import distribution

    strategy = distribution.mirrored(["CPU:0", "CPU:1"])
    images = np.random.default_rng(0).normal(3.0, 2.0, (8, 4, 4, 3)).astype("float32")
    sums, results = {}, {}
    original = tf.distribute.ReplicaContext.all_reduce
    for kind in (keras.layers.BatchNormalization, BatchNormalization):
        calls = []

        def counted(self, *arguments, calls=calls, **options):
            calls.append(1)
            return original(self, *arguments, **options)

        monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", counted)
        with strategy.scope():
            layer = kind(synchronized=True)
            layer.build((None, 4, 4, 3))

        def step(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = layer(x, training=True)
                loss = tf.reduce_sum(tf.sin(outputs))
            return outputs, tape.gradient(loss, x)

        parts = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(images, 2)[context.replica_id_in_sync_group]))
        values = tf.function(lambda p, step=step: strategy.run(step, (p,)))(parts)
        results[kind] = [np.concatenate(strategy.experimental_local_results(v)) for v in values] + [
            keras.ops.convert_to_numpy(v) for v in (layer.moving_mean, layer.moving_variance)]
        sums[kind] = len(calls)
    assert sums == {keras.layers.BatchNormalization: 2 * (3 + 2), BatchNormalization: 2 * (1 + 1)}
    for ours, theirs in zip(results[BatchNormalization], results[keras.layers.BatchNormalization], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
