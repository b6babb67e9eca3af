"""NFNets and normalizer-free ResNets against published sizes; their logits are in tests/weights/test_timm.py."""

import functools
import json
import pathlib

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.models import normalizer_free
from keras_tricks.utils.errors import UserError

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_logits.json").read_text())["models"]
COUNTS = {  # DeepMind's layout
    "nfnet_f0": 71_489_284, "nfnet_f1": 132_634_256, "nfnet_f2": 193_779_228, "nfnet_f3": 254_924_200,
    "nfnet_f4": 316_069_172, "nfnet_f5": 377_214_144, "nfnet_f6": 438_359_116, "nfnet_f7": 499_504_088,
    "nf_resnet50": 25_557_048, "nf_resnet101": 44_549_193, "nf_resnet152": 60_192_858, "nf_resnet200": 64_673_898,
    "nf_resnet288": 146_460_552, "skipinit_resnet50": 25_530_424, "fixup_resnet50": 25_504_026,
}
SE_COUNTS = {50: 35_635_704, 101: 63_562_505, 152: 86_565_402, 200: 93_153_834, 288: 213_422_472}
MACS = {0: 12.38e9, 1: 35.54e9, 2: 62.59e9, 3: 114.76e9, 4: 215.24e9, 5: 289.76e9, 6: 377.28e9}  # 2102.06171, table 1
FAST = ("nfnet_f0", "nf_resnet50", "skipinit_resnet50", "fixup_resnet50")


def slow_but(fast, names):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@functools.cache
def cost(name, **kwargs):
    with keras.device("cpu"):
        return kt.analysis.cost(kt.models.create_model(name, **kwargs))


@pytest.mark.parametrize("name", slow_but(FAST, COUNTS))
def test_parameters(name):
    assert cost(name, input_shape=(64, 64, 3)).parameters == COUNTS[name]


@pytest.mark.parametrize("depth", slow_but((50,), SE_COUNTS))
def test_parameters_with_squeeze_excite(depth):
    assert cost(f"nf_resnet{depth}", se_ratio=0.25, input_shape=(64, 64, 3)).parameters == SE_COUNTS[depth]


@pytest.mark.parametrize("options, expected", [
    ({"two_convolutions": False}, 62_774_276),
    pytest.param({"widths": (256, 512, 1024, 2048)}, 68_638_724, marks=pytest.mark.slow),
    pytest.param({"layout": "timm"}, GOLDEN["nfnet_f0"]["parameters"], marks=pytest.mark.slow),
])
def test_parameters_of_what_the_papers_vary(options, expected):
    assert kt.models.NFNetF0(input_shape=(64, 64, 3), **options).count_params() == expected


@pytest.mark.slow
def test_parameters_of_the_plus_variants():
    """The reference code rounds the first stage's inner width, 192, down to one group of 128."""
    plus = kt.models.NFNetF0(widths=(384, 768, 2048, 2048), rounding="floor", input_shape=(64, 64, 3))
    assert plus.count_params() == 118_824_516


@pytest.mark.parametrize("level", slow_but((0,), MACS))
def test_multiply_adds_at_the_test_size(level):
    size = kt.models.model_info(f"nfnet_f{level}").test_input_size
    assert cost(f"nfnet_f{level}", input_shape=size).macs == pytest.approx(MACS[level], rel=0.005)


def test_betas_of_f0():
    expected = ((1.0,), (0.980581, 0.980581), (0.962250, 0.980581, 0.962250, 0.944911, 0.928477, 0.912871),
                (0.898027, 0.980581, 0.962250))
    assert [pytest.approx(stage, abs=1e-6) for stage in expected] == list(normalizer_free.betas((1, 2, 6, 3)))


def test_betas_of_depth_50():
    expected = ((1, 0.980581, 0.962250), (0.944911, 0.980581, 0.962250, 0.944911),
                (0.928477, 0.980581, 0.962250, 0.944911, 0.928477, 0.912871),
                (0.898027, 0.980581, 0.962250))
    assert [pytest.approx(stage, abs=1e-6) for stage in expected] == list(normalizer_free.betas((3, 4, 6, 3)))


def test_betas_are_in_the_model():
    model = kt.models.create_model("test_nfnet")
    scales = [model.get_layer(f"{block}_act1").scale for block in ("stage1_block1", "stage2_block1", "stage2_block2")]
    assert scales == pytest.approx([1.0, 0.980581, 0.980581], abs=1e-6)
    assert model.get_layer("final_act").scale == 1.0


def test_drop_path_of_both_codes():
    """DeepMind stops short of the full rate and does not rescale; timm reaches it and does."""
    for layout, rates, rescale in (("dm", [1 / 12, 2 / 12], False), ("timm", [1 / 8, 2 / 8], True)):
        model = kt.models.create_model("test_nfnet", layout=layout, drop_path_rate=0.25)
        drops = [layer for layer in model.layers if isinstance(layer, kt.layers.DropPath)]
        assert [drop.rate for drop in drops] == pytest.approx(rates)
        assert {drop.rescale for drop in drops} == {rescale}


@pytest.mark.parametrize("layout", ["dm", "timm"])
@pytest.mark.parametrize("name", ["test_nfnet", "test_nf_resnet"])
def test_fresh_blocks_are_closed(name, layout):
    """A branch adds nothing at initialization, unless `skip_gain_init` is set."""
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    for gain in (0.0, 1.0):
        model = kt.models.create_model(name, layout=layout, skip_gain_init=gain)
        adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
        branches = keras.Model(model.input, [add.input[0] for add in adds])(image)
        assert [bool(np.any(b)) for b in branches] == [bool(gain)] * len(adds)


def test_widths_that_groups_do_not_divide():
    with pytest.raises(UserError, match=r"384 filters has 192 inside.*`group_width`=128.*rounding=\"floor\".*128"):
        kt.models.NFNetF0(widths=(384, 768, 2048, 2048))
    with pytest.raises(UserError, match="256 filters has 64 inside"):
        kt.models.NFNetF0(bottleneck_ratio=0.25, rounding="floor")


def test_unknown_layout_and_activation():
    with pytest.raises(UserError, match="`layout` must be one of 'dm', 'timm'"):
        kt.models.NFResNet50(layout="timm_dm")
    with pytest.raises(UserError, match="`activation` must be one of .*'relu'"):
        kt.models.NFNetF0(activation="reluu")
