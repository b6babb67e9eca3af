"""Our layer against Keras' batch normalization, run on one group after the other."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras_tricks as kt  # noqa: E402
from keras_tricks.layers import GhostBatchNormalization  # noqa: E402

GHOST = 4
IMAGES, VECTORS = (12, 3, 3, 5), (12, 5)
SHAPES = [IMAGES, VECTORS, (12, 3, 5), (12, 2, 2, 2, 3), (4, 3, 3, 5), (8, 1, 1, 2)]


def numbers(shape, seed=0, spread=3.0):
    """Groups differ in mean and spread, so that statistics of the whole batch would differ."""
    rng = np.random.default_rng(seed)
    drift = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return (rng.normal(size=shape) * (spread + drift) + drift).astype("float32")


def pair(shape, ghost_size=GHOST, **kwargs):
    """Ours and Keras' layer, built, with the same random weights."""
    layers = GhostBatchNormalization(ghost_size, **kwargs), keras.layers.BatchNormalization(**kwargs)
    rng = np.random.default_rng(7)
    for layer in layers:
        layer.build(shape)
    values = [rng.uniform(0.5, 2.0, size=w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(values)
    return layers


def step(call, layer, x):
    """Output, and gradients with respect to input, gamma and beta of a loss that weights every number differently."""
    x = tf.constant(x)
    variables = [w.value for w in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x)
        loss = tf.reduce_sum(tf.cast(y, "float32") * numbers(x.shape, seed=1))
    return [y, *tape.gradient(loss, [x, *variables])]


def in_turn(layer, size):
    """Keras' layer, applied to each group separately."""
    return lambda x: tf.concat([layer(x[i : i + size], training=True) for i in range(0, x.shape[0], size)], axis=0)


def known(layer):
    return lambda x: layer(x, training=True)


def dynamic(layer, shape, dtype="float32"):
    """The batch dimension is `None`, as in `fit`."""
    return tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec([None, *shape[1:]], dtype)])


def moved(layer, x):
    """Moving mean and variance after one step on `x`, from the formula of the card, in float64."""
    groups = np.float64(x).reshape(-1, GHOST, *x.shape[1:])
    axes = tuple(range(1, groups.ndim - 1))
    keep = layer.momentum ** len(groups)
    before = np.float64(layer.moving_mean.numpy()), np.float64(layer.moving_variance.numpy())
    after = groups.mean(axes).mean(0), groups.var(axes).mean(0)
    return [keep * b + (1 - keep) * a for b, a in zip(before, after, strict=True)]


def assert_moved(layer, expected):
    for variable, value in zip((layer.moving_mean, layer.moving_variance), expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5, err_msg=variable.path)


@pytest.fixture(params=["fused", "composed"])
def path(request, monkeypatch):
    """The implementation for images on TensorFlow, and the one for other inputs and backends."""
    if request.param == "composed":
        monkeypatch.setattr(GhostBatchNormalization, "can_fuse", lambda self, inputs: False)
    return request.param


@pytest.mark.parametrize("batch_dimension", ["known", "unknown"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_batch_normalization_of_the_groups_in_turn(shape, batch_dimension, path):
    ours, theirs = pair(shape)
    expected = moved(ours, numbers(shape))
    call = known(ours) if batch_dimension == "known" else dynamic(ours, shape)
    for mine, reference in zip(
        step(call, ours, numbers(shape)), step(in_turn(theirs, GHOST), theirs, numbers(shape)), strict=True
    ):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)
    assert_moved(ours, expected)


@pytest.mark.parametrize("kwargs", [{"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 1e-5}], ids=str)
def test_options_are_those_of_batch_normalization(kwargs, path):
    ours, theirs = pair(IMAGES, **kwargs)
    expected = moved(ours, numbers(IMAGES))
    for mine, reference in zip(
        step(known(ours), ours, numbers(IMAGES)), step(in_turn(theirs, GHOST), theirs, numbers(IMAGES)), strict=True
    ):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)
    assert_moved(ours, expected)


def test_the_moving_statistics_go_as_far_as_one_update_for_each_group(path):
    """With momentum 0.5, three groups leave 1/8 of the previous statistics."""
    layer = GhostBatchNormalization(2, momentum=0.5)
    x = np.array([1.0, 1.0, 4.0, 4.0, 8.0, 10.0], "float32").reshape(6, 1, 1, 1)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [7 / 8 * (1 + 4 + 9) / 3], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [1 / 8 + 7 / 8 / 3], rtol=1e-6)  # from 1; groups: 0, 0, 1


def test_many_steps_stay_together(path):
    ours, theirs = pair(IMAGES, momentum=0.9)
    call, reference = dynamic(ours, IMAGES), in_turn(theirs, GHOST)
    for seed, count in enumerate([4, 12, 8, 20, 12]):  # as a batch that grows
        x = numbers((count, *IMAGES[1:]), seed)
        expected = moved(ours, x)
        np.testing.assert_allclose(call(x), reference(tf.constant(x)), rtol=1e-4, atol=1e-4)
        assert_moved(ours, expected)


@pytest.mark.parametrize("batch_dimension", ["known", "unknown"])
@pytest.mark.parametrize("ghost_size", [12, 13, 128])
@pytest.mark.parametrize("shape", [IMAGES, VECTORS], ids=str)
def test_a_ghost_as_large_as_the_batch_is_batch_normalization(shape, ghost_size, batch_dimension, path):
    ours, theirs = pair(shape, ghost_size)
    call = known(ours) if batch_dimension == "known" else dynamic(ours, shape)
    for mine, reference in zip(
        step(call, ours, numbers(shape)), step(known(theirs), theirs, numbers(shape)), strict=True
    ):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean.numpy(), theirs.moving_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance.numpy(), theirs.moving_variance.numpy(), rtol=1e-5)


@pytest.mark.parametrize("shape", [IMAGES, VECTORS, (10, 3, 3, 5)], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_inference_and_frozen_are_batch_normalization(shape, training):
    """For any batch, also one that is not a multiple of the ghost size. The statistics do not change."""
    ours, theirs = pair(shape)
    ours.trainable = theirs.trainable = not training
    before = [w.numpy() for w in ours.weights]
    np.testing.assert_allclose(
        ours(numbers(shape), training=training), theirs(numbers(shape), training=training), rtol=1e-5, atol=1e-5)
    for old, new in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.parametrize("batch_dimension", ["known", "unknown"])
@pytest.mark.parametrize("shape", [IMAGES, VECTORS], ids=str)
def test_float16_stays_float16_with_float32_statistics(shape, batch_dimension, path):
    layer, (_, theirs) = GhostBatchNormalization(GHOST, dtype="mixed_float16", momentum=0.5), pair(shape, momentum=0.5)
    layer.build(shape)
    layer.set_weights(theirs.get_weights())
    x = numbers(shape, spread=100.0).astype("float16")
    expected = moved(layer, x)
    y = (known(layer) if batch_dimension == "known" else dynamic(layer, shape, "float16"))(tf.constant(x))
    assert y.dtype == "float16" and {w.dtype for w in layer.weights} == {"float32"}
    np.testing.assert_allclose(tf.cast(y, "float32"), in_turn(theirs, GHOST)(tf.constant(x, "float32")), atol=0.02)
    assert_moved(layer, expected)


def test_images_go_through_the_fused_kernel(monkeypatch):
    kernels, original = [], GhostBatchNormalization.fused_kernel
    monkeypatch.setattr(GhostBatchNormalization, "fused_kernel",
                        lambda self, x: kernels.append(x.shape) or original(self, x))
    GhostBatchNormalization(GHOST)(numbers(IMAGES), training=True)
    assert kernels and all(shape[1:] == IMAGES[1:] for shape in kernels)
    kernels.clear()
    GhostBatchNormalization(GHOST)(numbers(VECTORS), training=True)
    assert kernels == []


def test_compiled_by_xla(path):
    ours, theirs = pair(IMAGES)
    expected = moved(ours, numbers(IMAGES))
    compiled = tf.function(lambda x: ours(x, training=True), jit_compile=True)
    y = compiled(tf.constant(numbers(IMAGES)))
    np.testing.assert_allclose(y, in_turn(theirs, GHOST)(tf.constant(numbers(IMAGES))), rtol=1e-4, atol=1e-4)
    assert_moved(ours, expected)


@pytest.mark.parametrize("kind", ["w.safetensors", "w.keras"])
def test_checkpoints_fit_batch_normalization(kind, tmp_path):
    """A network that was trained with groups is loaded without them."""
    def network(**options):
        return kt.models.WideResNet(10, 1, classes=2, input_shape=(4, 4, 3), name="net", **options)

    ghost, path, x = network(ghost_batch_size=2), tmp_path / kind, numbers((4, 4, 4, 3), spread=1.0)
    ghost(x, training=True)
    if kind == "w.safetensors":
        kt.weights.safetensors_io.save(path, kt.weights.safetensors_io.by_path(ghost.variables))
    else:
        ghost.save(path)
    np.testing.assert_allclose(network(weights=str(path))(x), ghost(x), rtol=1e-5, atol=1e-5)


def test_training_in_fit_uses_the_groups():
    model = keras.Sequential([keras.Input((5,)), GhostBatchNormalization(GHOST, momentum=0.0)])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    x = numbers((8, 5))
    model.fit(x, np.zeros_like(x), batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.layers[0].moving_mean.numpy(), x.mean(axis=0), rtol=1e-4)


# ---- errors


@pytest.mark.parametrize("size", [1, 0, -4, 2.5])
def test_wrong_ghost_sizes(size):
    with pytest.raises(ValueError, match=f"`ghost_size` must be an integer > 1. Received: ghost_size={size}"):
        GhostBatchNormalization(size)


def test_synchronized_is_refused():
    with pytest.raises(ValueError, match="`synchronized`"):
        GhostBatchNormalization(GHOST, synchronized=True)


@pytest.mark.parametrize("shape", [(10, 3, 3, 2), (10, 2)], ids=str)
def test_a_batch_that_is_not_a_multiple(shape):
    with pytest.raises(ValueError, match="A batch of 10 images is not a multiple of ghost_size=4"):
        GhostBatchNormalization(GHOST)(numbers(shape), training=True)


@pytest.mark.parametrize("shape", [(10, 3, 3, 2), (10, 2), (5, 2)], ids=str)
def test_a_batch_of_unknown_size_that_is_not_a_multiple_fails_too(shape):
    """It must not be silently divided into groups of another size."""
    layer = GhostBatchNormalization(GHOST)
    layer.build(shape)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        dynamic(layer, shape)(numbers(shape))


def test_another_axis_is_refused():
    with pytest.raises(ValueError, match="last axis. Received: axis=1"):
        GhostBatchNormalization(GHOST, axis=1)(numbers(IMAGES), training=True)


def test_a_mask_is_honoured_or_refused():
    """As in Keras' layer, padding must not enter the statistics of a group."""
    x = numbers((8, 3, 2))
    mask = np.ones((8, 3), bool)
    mask[::2, 1:] = False
    ours, theirs = pair(x.shape)
    try:
        y = ours(x, training=True, mask=mask)
    except ValueError:
        return
    groups = [theirs(x[i : i + GHOST], training=True, mask=mask[i : i + GHOST]) for i in (0, 4)]
    np.testing.assert_allclose(y, np.concatenate(groups), rtol=1e-4, atol=1e-4)
