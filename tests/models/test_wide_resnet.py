"""Wide ResNets against published sizes (facts of the authors' code) and against that code, written with plain ops."""

import functools

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError

COUNTS = {  # depth, width factor: trainable parameters with 10 and with 100 classes
    (16, 1): (175_066, 180_916), (16, 4): (2_748_890, 2_772_020), (16, 8): (10_961_370, 11_007_540),
    (16, 10): (17_116_634, 17_174_324), (28, 2): (1_467_610, 1_479_220), (28, 10): (36_479_194, 36_536_884),
    (40, 4): (8_949_210, 8_972_340),
}
NAMED = [(16, 1), (16, 4), (16, 8), (28, 2), (28, 10), (40, 4)]


@functools.cache
def small(depth=16, width_factor=1, **options):
    return kt.models.WideResNet(depth, width_factor, **{"classes": 3, "input_shape": (8, 8, 3), **options})


def images(count=2, size=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype("float32")


def names(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("classes, column", [(10, 0), (100, 1)])
@pytest.mark.parametrize("depth, width_factor", COUNTS)
def test_parameters(depth, width_factor, classes, column):
    model = kt.models.WideResNet(depth, width_factor, classes=classes, kernel_initializer="zeros")
    assert kt.analysis.cost(model).parameters == COUNTS[depth, width_factor][column]
    assert model.input_shape == (None, 32, 32, 3) and model.output_shape == (None, classes)


@pytest.mark.parametrize("depth, width_factor", NAMED)
def test_names_of_the_registry(depth, width_factor):
    model = kt.models.create_model(f"wide_resnet{depth}_{width_factor}", kernel_initializer="zeros")
    assert kt.analysis.cost(model).parameters == COUNTS[depth, width_factor][0]
    assert getattr(kt.models, f"WideResNet{depth}_{width_factor}").__name__ == f"WideResNet{depth}_{width_factor}"
    assert model.name == f"wide_resnet{depth}_{width_factor}" and model.output_shape == (None, 10)


def authors_forward(model, x, blocks):
    """The functional network of szagoruyko/wide-residual-networks in evaluation mode, with NumPy and the same names."""
    weights = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    relu = functools.partial(np.maximum, 0)

    def conv(x, name, stride=1):
        kernel = weights[f"{name}/kernel"]
        pad = kernel.shape[0] // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        return keras.ops.convert_to_numpy(keras.ops.conv(x, kernel, stride, "valid"))

    def norm(x, name):
        mean, variance, gamma, beta = (
            weights[f"{name}/{n}"] for n in ("moving_mean", "moving_variance", "gamma", "beta"))
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = conv(x, "stem")
    for stage in (1, 2, 3):
        for index in range(1, blocks + 1):
            name, stride = f"stage{stage}_block{index}", 2 if stage > 1 and index == 1 else 1
            o1 = relu(norm(x, f"{name}_pre1_bn"))
            y = conv(o1, f"{name}_conv1", stride)
            z = conv(relu(norm(y, f"{name}_pre2_bn")), f"{name}_conv2")
            x = z + (conv(o1, f"{name}_shortcut", stride) if f"{name}_shortcut/kernel" in weights else x)
    pooled = relu(norm(x, "head_bn")).mean(axis=(1, 2))
    return pooled @ weights["head/kernel"] + weights["head/bias"]


@pytest.mark.parametrize("depth, width_factor", [(10, 1), (16, 2)])
def test_the_output_is_that_of_the_authors_code(depth, width_factor):
    model = kt.models.WideResNet(depth, width_factor, classes=3, input_shape=(8, 8, 3), classifier_activation=None)
    rng = np.random.default_rng(1)
    for weight in model.weights:  # so that normalization is not the identity
        scale = rng.uniform(0.5, 1.5, size=weight.shape) if len(weight.shape) == 1 else 1.0
        weight.assign(keras.ops.convert_to_numpy(weight) * scale + (0.1 if weight.name == "beta" else 0.0))
    x = images()
    np.testing.assert_allclose(model(x), authors_forward(model, x, (depth - 4) // 6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width_factor, projected", [(1, (2, 3)), (2, (1, 2, 3))])
def test_a_projection_only_where_channels_or_strides_change(width_factor, projected):
    model = small(16, width_factor)
    found = [n for n in names(model, keras.layers.Conv2D) if model.get_layer(n).kernel_size == (1, 1)]
    assert found == [f"stage{stage}_block1_shortcut" for stage in projected]


def test_a_projection_sees_the_activated_tensor_and_an_identity_the_raw_one():
    model = small(16, 2)
    for stage in (1, 2, 3):
        projection = model.get_layer(f"stage{stage}_block1_shortcut")
        assert projection.input is model.get_layer(f"stage{stage}_block1_pre1_act").output
        shortcut, _ = model.get_layer(f"stage{stage}_block2_out").input
        assert shortcut is model.get_layer(f"stage{stage}_block1_out").output


def test_normalization_is_before_each_convolution_but_the_first_and_at_the_end():
    model = small(16, 1)
    assert model.get_layer("stem").input is model.input
    shortcut, _ = model.get_layer("stage1_block1_out").input  # without normalization
    assert shortcut is model.get_layer("stem").output
    norms = names(model, keras.layers.BatchNormalization)
    blocks = [f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2)]
    assert norms == [f"{block}_pre{i}_bn" for block in blocks for i in (1, 2)] + ["head_bn"]
    assert model.get_layer("head_bn").input is model.get_layer("stage3_block2_out").output
    assert model.get_layer("head_pool").input is model.get_layer("head_act").output


def test_where_the_resolution_is_halved():
    model = small(16, 1, input_shape=(32, 32, 3))
    strided = [n for n in names(model, keras.layers.Conv2D) if model.get_layer(n).strides == (2, 2)]
    assert sorted(strided) == [f"stage{s}_block1_{part}" for s in (2, 3) for part in ("conv1", "shortcut")]
    sizes = [model.get_layer(f"stage{s}_block2_out").output.shape[1:] for s in (1, 2, 3)]
    assert sizes == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


def test_no_convolution_has_a_bias_and_kernels_are_he_normal_over_fan_out():
    model = kt.models.WideResNet(10, 4, include_top=False, input_shape=(8, 8, 3))
    kernels = {n: model.get_layer(n) for n in names(model, keras.layers.Conv2D)}
    assert not any(layer.use_bias for layer in kernels.values())
    for name in ("stage1_block1_conv1", "stage1_block1_conv2", "stage3_block1_conv1", "stage3_block1_shortcut"):
        kernel = keras.ops.convert_to_numpy(kernels[name].kernel)
        assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod((*kernel.shape[:2], kernel.shape[3]))), rel=0.05)
        assert np.abs(kernel).max() > 2.5 * kernel.std()  # not truncated
    one, two = (keras.ops.convert_to_numpy(kernels[f"stage1_block1_conv{i}"].kernel)[:, :, :16] for i in (1, 2))
    assert not np.allclose(one / one.std(), two / two.std())


def test_dropout_is_between_the_convolutions_of_each_block():
    model = small(16, 1, dropout_rate=0.3)
    drops = names(model, keras.layers.Dropout)
    assert drops == [f"stage{s}_block{b}_dropout" for s in (1, 2, 3) for b in (1, 2)]
    assert {model.get_layer(n).rate for n in drops} == {0.3}
    for name in drops:
        block = name.removesuffix("_dropout")
        assert model.get_layer(name).input is model.get_layer(f"{block}_pre2_act").output
        assert model.get_layer(f"{block}_conv2").input is model.get_layer(name).output
    assert names(small(16, 1), keras.layers.Dropout) == []


def test_drop_path_rate_grows_linearly_from_zero():
    model = small(16, 1, drop_path_rate=0.5)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, kt.layers.DropPath)}
    blocks = [f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2)]
    assert rates == pytest.approx({f"{block}_drop_path": i / 10 for i, block in enumerate(blocks) if i})


def test_ghost_batch_size_reaches_every_normalization():
    model = small(16, 1, ghost_batch_size=32)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 13 and all(type(n) is kt.layers.GhostBatchNormalization for n in norms)
    assert {(n.ghost_size, n.momentum, n.epsilon) for n in norms} == {(32, 0.9, 1e-5)}
    plain = small(16, 1)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain(images()), model(images()), rtol=1e-5)


@pytest.mark.parametrize("sync_bn", [False, True])
def test_sync_bn_reaches_every_normalization(sync_bn):
    model = small(16, 1, sync_bn=sync_bn)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 13 and all(type(n) is kt.layers.BatchNormalization for n in norms)
    assert {n.synchronized for n in norms} == {sync_bn}


def test_without_top():
    assert small(10, 2, include_top=False).output_shape == (None, 2, 2, 128)
    assert small(10, 2, include_top=False, pooling="avg").output_shape == (None, 128)
    assert small(10, 2, include_top=False, input_shape=None).input_shape == (None, None, None, 3)


def test_mixed_precision_gives_float32_logits():
    keras.config.set_dtype_policy("mixed_float16")
    model = kt.models.WideResNet(10, 1, classes=3, input_shape=(8, 8, 3), ghost_batch_size=2)
    assert model(images(4), training=True).dtype == "float32"
    assert model.get_layer("stage1_block1_conv1").compute_dtype == "float16"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


@pytest.mark.parametrize("depth", [3, 4, 9, 15, 17, 50])
def test_depths_that_are_not_6n_plus_4(depth):
    with pytest.raises(UserError, match=rf"`depth` must be 6n \+ 4.*Received: {depth}"):
        kt.models.WideResNet(depth, 1)


def test_synchronized_and_ghost_statistics_contradict_each_other():
    with pytest.raises(UserError, match="`sync_bn` and `ghost_batch_size` contradict"):
        small(10, 1, sync_bn=True, ghost_batch_size=4)
