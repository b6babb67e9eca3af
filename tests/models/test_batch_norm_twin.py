"""`norm="batch"` of the normalizer-free families and `norm="skipinit"` of wide ResNets."""

import keras
import numpy as np
import pytest

from keras_tricks import models
from keras_tricks.layers import BatchNormalization, ScaledWSConv2D, SkipGain
from keras_tricks.utils.errors import UserError


def kinds(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_the_twin_of_nf_resnet_50_is_the_pre_activation_resnet():
    """25,549,352 parameters: timm's resnetv2_50, instantiated."""
    twin = models.create_model("nf_resnet50", norm="batch", input_shape=(64, 64, 3))
    assert trainable(twin) == 25_549_352
    assert len(kinds(twin, BatchNormalization)) == 3 * 16 + 1
    assert not kinds(twin, ScaledWSConv2D) and not kinds(twin, SkipGain)
    assert all(not layer.use_bias for layer in kinds(twin, keras.layers.Conv2D))


def test_the_twin_of_an_nfnet_has_its_convolutions():
    options = dict(input_shape=(64, 64, 3), widths=(16, 32, 48, 48), group_width=8, se_ratio=0.5)
    nf, twin = (models.create_model("nfnet_f0", norm=norm, **options) for norm in ("none", "batch"))
    shapes = [[tuple(v.shape) for v in m.trainable_variables if v.name == "kernel"] for m in (nf, twin)]
    assert shapes[0] == shapes[1]
    assert len(kinds(twin, BatchNormalization)) == 12 * 4 + 3 + 1  # each activation but the gates'


def test_the_signal_of_a_fresh_twin_is_normalized():
    keras.utils.set_random_seed(0)
    twin = models.create_model("nf_resnet_cifar", norm="batch")
    x = np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype("float32")
    features = keras.Model(twin.input, [layer.output for layer in kinds(twin, BatchNormalization)])
    for values in features(x, training=True):
        values = keras.ops.convert_to_numpy(values)
        assert abs(values.mean()) < 1e-3 and values.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("arguments, words", [
    ({"norm": "batch", "layout": "timm"}, 'norm="batch"` needs layout="dm"'), ({"norm": "layer"}, "`norm` must be")])
def test_wrong_norms(arguments, words):
    with pytest.raises(UserError, match=words):
        models.create_model("test_nf_resnet", **arguments)


# ---- SkipInit at any depth


@pytest.mark.parametrize("norm", ["skipinit", "none"])
def test_a_wide_resnet_without_normalization(norm):
    model = models.create_model("wide_resnet", depth=10, width_factor=1, norm=norm)
    assert not kinds(model, BatchNormalization) and len(kinds(model, SkipGain)) == 3 * (norm == "skipinit")
    biased = {layer.name for layer in kinds(model, keras.layers.Conv2D) if layer.use_bias}
    assert "stage1_block1_conv1" in biased and "stem" not in biased


def test_blocks_of_skipinit_start_as_the_identity():
    model = models.create_model("wide_resnet", depth=16, width_factor=1, norm="skipinit")
    inside = keras.Model(model.input, [model.get_layer(f"stage1_block{i}_out").output for i in (1, 2)])
    first, second = inside(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("depth", [16, 28])
def test_depth_is_an_argument(depth):
    model = models.create_model("wide_resnet", depth=depth, width_factor=2)
    assert len(kinds(model, keras.layers.Add)) == (depth - 4) // 2
    assert trainable(models.create_model("wide_resnet", depth=28)) == 1_467_610  # 28-2


@pytest.mark.slow
def test_a_thousand_layers():
    model = models.create_model("wide_resnet", depth=1000, width_factor=1, norm="skipinit")
    assert len(kinds(model, SkipGain)) == 498


def test_arguments_that_contradict_each_other():
    with pytest.raises(UserError, match='need norm="batch"'):
        models.create_model("wide_resnet", norm="skipinit", sync_bn=True)
    with pytest.raises(UserError, match="`depth` must be 6n"):
        models.create_model("wide_resnet", depth=17)
