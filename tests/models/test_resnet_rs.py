"""ResNet-RS against published sizes; the logits of timm's networks are in tests/weights/test_timm.py."""

import functools

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError

COUNTS = {  # depth: parameters, statistics, parameters without the extra stem convolution, and of that without gates
    50: (35_691_912, 53_376, 35_654_920, 25_576_264), 101: (63_618_696, 105_600, 63_581_704, 44_568_392),
    152: (86_621_576, 151_680, 86_584_584, 60_212_040), 200: (93_209_992, 176_256, 93_173_000, 64_693_064),
    270: (129_861_448, 243_072, 129_824_456, 89_618_504), 350: (163_956_168, 312_192, 163_919_176, 112_805_448),
    420: (191_891_656, 370_560, 191_854_664, 131_803_720),
}
STUDY = {26: (21_631_560, 16_014_408), 300: (134_386_632, 92_696_136), 400: (182_229_064, 125_232_200)}
FLOPS = {  # (depth, pixels): billions, 2 x multiply-adds (2103.07579, table 7)
    (50, 160): 4.6, (101, 160): 8.4, (101, 192): 12, (152, 192): 18, (152, 224): 24, (152, 256): 31, (200, 256): 40,
    (270, 256): 54, (350, 256): 69, (350, 320): 107, (420, 320): 128,
}


def slow_over(limit, rows):
    depths = [(row, row[0] if isinstance(row, tuple) else row) for row in rows]
    return [row if depth <= limit else pytest.param(row, marks=pytest.mark.slow) for row, depth in depths]


@functools.cache
def cost(depth, size=64, **options):
    options["kernel_initializer"] = "zeros"  # random numbers would take longer than everything else
    return kt.analysis.cost(kt.models.ResNetRS(depth, input_shape=(size, size, 3), **options))


pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides 64 pixels")


@pytest.mark.parametrize("depth", slow_over(50, COUNTS))
def test_parameters(depth):
    released, statistics, text, plain = COUNTS[depth]
    assert (cost(depth).parameters, cost(depth).non_trainable) == (released, statistics)
    assert cost(depth, stem_pool="none").parameters == text
    assert cost(depth, stem_pool="none", se_ratio=0).parameters == plain


@pytest.mark.parametrize("depth", slow_over(26, STUDY))
def test_parameters_of_the_scaling_study(depth):
    assert (cost(depth).parameters, cost(depth, stem_pool="none", se_ratio=0).parameters) == STUDY[depth]


@pytest.mark.parametrize("row", slow_over(50, FLOPS))
def test_multiply_adds(row):
    # The paper prints 18 for depth 152 at 192 pixels, where its other rows at that depth leave 17.4.
    assert 2e-9 * cost(*row).macs == pytest.approx(FLOPS[row], rel=0.035 if row == (152, 192) else 0.02)


def test_drop_path_grows_by_stage():
    model = kt.models.ResNetRS(26, input_shape=(64, 64, 3), drop_path_rate=0.1, width_factor=0.125)
    rates = [layer.rate for layer in model.layers if isinstance(layer, kt.layers.DropPath)]
    assert rates == pytest.approx([0.04, 0.04, 0.06, 0.06, 0.08, 0.08, 0.1, 0.1])


def test_both_readings_of_the_stem_halve_four_times_before_stage_two():
    for pool, first in (("conv", 1), ("none", 2)):
        model = kt.models.ResNetRS(26, input_shape=(64, 64, 3), width_factor=0.125, stem_pool=pool)
        assert model.get_layer("stage1_block1_out").output.shape[1] == 16
        assert model.get_layer("stage4_block2_out").output.shape[1] == 2
        assert model.get_layer("stage1_block1_conv2").strides == (first, first)


def test_gate_follows_the_last_norm_and_zero_gamma_closes_the_branch():
    model = kt.models.create_model("test_resnet_rs", zero_gamma=True)
    gate = model.get_layer("stage2_block1_se")
    assert gate.input is model.get_layer("stage2_block1_conv3_bn").output
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    assert not np.any(keras.Model(model.input, gate.output)(x, training=True))


def test_swish_and_momentum_reach_every_layer():
    model = kt.models.create_model("test_resnet_rs", activation="swish", bn_momentum=0.0)
    flat = [inner for layer in model.layers for inner in (layer, *getattr(layer, "layers", ()))]
    assert {n.momentum for n in flat if isinstance(n, keras.layers.BatchNormalization)} == {0.0}
    assert not [n for n in flat if isinstance(n, keras.layers.ReLU)]


def test_mistakes():
    with pytest.raises(UserError, match="`depth` must be one of 26, 50.*Received: 150. Nearest: 152"):
        kt.models.ResNetRS(150)
    with pytest.raises(UserError, match="`width_factor` 0.01 leaves 0 of the stem's 64 channels"):
        kt.models.ResNetRS(50, width_factor=0.01)
    with pytest.raises(UserError, match="must be 32 pixels or more. Received: .16, 16, 3."):
        kt.models.ResNetRS50(input_shape=(16, 16, 3))
    with pytest.raises(UserError, match="`stem_pool` must be one of 'max', 'conv', 'none'"):
        kt.models.ResNetRS50(stem_pool="avg")
