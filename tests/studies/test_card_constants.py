"""The constants of the papers and their code that cards and documentation name, beside the defaults of the package."""

import importlib
import inspect

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks import models
from keras_tricks.models import normalizer_free
from keras_tricks.recipe import Recipe
from keras_tricks.utils import cards

DEFAULTS = [  # what, {argument: value}, source
    ("optimizers.AGC", {"clip_factor": 0.01, "eps": 1e-3, "exclude": "classifier"},
     "arXiv:2102.06171, section 4.1; deepmind-research, optim.py"),
    ("ops.clip_unitwise", {"clip_factor": 0.01, "eps": 1e-3}, "deepmind-research, optim.py"),
    ("optimizers.Lookahead", {"sync_period": 6, "slow_step_size": 0.5}, "arXiv:1907.08610; TensorFlow Addons"),
    ("optimizers.SharpnessAware", {"rho": 0.05, "stride": 1}, "arXiv:2010.01412, section 3"),
    ("optimizers.SGD", {"momentum": 0.9, "nesterov": True}, "arXiv:1812.01187, section 2.1"),
    ("optimizers.LossScale", {"initial_scale": 2.0**15, "dynamic_growth_steps": 2000}, "Keras' LossScaleOptimizer"),
    ("optimizers.orthogonalize", {"steps": 5}, "kellerjordan.github.io/posts/muon"),
    ("layers.SqueezeExcite", {"ratio": 0.25, "scale": 1.0, "activation": "relu"}, "arXiv:2103.07579; TPU resnet_rs"),
    ("layers.ScaledWSConv2D", {"eps": 1e-4, "eps_mode": "max"}, "deepmind-research, base.py"),
    ("layers.WSConv2D", {"eps": 1e-5}, "github.com/joe-siyuan-qiao/WeightStandardization"),
    ("layers.SkipGain", {"initial": 0.0, "scale": 1.0}, "arXiv:2002.10444: any start up to 1 / sqrt(L), 0 in the code"),
    ("layers.DeepStem", {"filters": (32, 32, 64)}, "arXiv:1812.01187, section 4.2"),
    ("layers.GhostBatchNormalization", {"ghost_size": 128}, "arXiv:1705.08741: groups of 128"),
    ("losses.LabelSmoothingCrossentropy", {"label_smoothing": 0.1}, "arXiv:1812.01187, section 5.2"),
    ("losses.Distiller", {"temperature": 20.0, "hard_weight": 1.0, "soft_weight": 1.0},
     "arXiv:1812.01187, section 5.3"),
    ("losses.distillation_loss", {"temperature": 20.0}, "arXiv:1812.01187, section 5.3"),
    ("schedules.linear_scaling", {"base_learning_rate": 0.1, "base_batch_size": 256}, "arXiv:1812.01187, section 3.1"),
    ("schedules.WarmupLinearScaling", {"base_learning_rate": 0.1, "base_batch_size": 256, "warmup_epochs": 5},
     "arXiv:1812.01187, section 3.1"),
    ("callbacks.WeightEMA", {"decay": 0.9999}, "arXiv:2103.07579, table 1; TPU resnet_rs"),
    ("initializers.FixupInit", {"convolutions": 3}, "arXiv:1901.09321: the bottleneck"),
    ("models.NFNet", {"alpha": 0.2, "se_ratio": 0.5, "group_width": 128, "widths": (256, 512, 1536, 1536)},
     "deepmind-research, nfnet.py"),
    ("models.NFResNet", {"alpha": 0.2, "widths": (256, 512, 1024, 2048)}, "deepmind-research, nf_resnet.py"),
    ("models.ResNetRS", {"se_ratio": 0.25, "drop_path_rule": "stage"}, "TPU resnet_rs"),
    ("models.WideResNet", {"norm": "batch", "dropout_rate": 0.0}, "wide-resnet.lua"),
]
TENSORFLOW_DEFAULTS = [
    ("data.augment.color.color_jitter", {"strength": 0.4}, "arXiv:1812.01187, section 2.1: U[0.6, 1.4]"),
    ("data.augment.crops.random_resized_crop", {"area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)},
     "arXiv:1812.01187, section 2.1"),
    ("data.augment.crops.distorted_crop", {"area": (0.08, 1.0)}, "sample_distorted_bounding_box in TPU's code"),
    ("data.augment.crops.squash_crop", {"padding": 32}, "deepmind-research, dataset.py: resize_crop_32"),
    ("data.augment.crops.center_crop", {"crop_pct": 0.875}, "224 of 256 pixels"),
    ("data.augment.crops.pad_crop", {"pad": 4, "mode": "REFLECT"}, "wide-residual-networks: reflection, 4 pixels"),
    ("data.augment.rand_augment.rand_augment", {"num_layers": 2, "magnitude": 10.0, "probability": 1.0,
                                                "translate": 100.0}, "TPU, autoaugment.py"),
    ("data.augment.rand_augment.operations", {"translate": 100.0, "cutout": 40.0}, "TPU, autoaugment.py"),
    ("data.augment.random_erasing.random_erasing", {"probability": 0.25}, "arXiv:1708.04896: 0.5; timm: 0.25"),
]
RECIPE_ON = {  # what a card's line "Recipe" sets, and the paper's value
    "agc": ("optimizer.agc_clip_factor", 0.01), "label_smoothing": ("loss.label_smoothing", 0.1),
    "mixup": ("augment.mixup_alpha", 0.2), "sharpness_aware": ("optimizer.sam_rho", 0.05),
    "lookahead": ("optimizer.lookahead_steps", 6), "squeeze_excite": ("model.options.se_ratio", 0.25),
    "weight_ema": ("optimizer.ema_decay", 0.9999), "warmup": ("schedule.warmup_epochs", 5),
}


def defaults(path):
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(f"keras_tricks.{module}"), name)
    return {p.name: p.default for p in inspect.signature(function).parameters.values()}


@pytest.mark.parametrize("path, values, source", DEFAULTS, ids=[d[0] for d in DEFAULTS])
def test_defaults_are_those_of_the_source(path, values, source):
    assert source and {name: defaults(path)[name] for name in values} == values


@pytest.mark.parametrize("path, values, source", TENSORFLOW_DEFAULTS, ids=[d[0] for d in TENSORFLOW_DEFAULTS])
def test_defaults_of_the_augmentations(path, values, source):
    pytest.importorskip("tensorflow")
    assert source and {name: defaults(path)[name] for name in values} == values


@pytest.mark.parametrize("trick", RECIPE_ON)
def test_the_line_recipe_of_a_card_sets_the_papers_value(trick):
    key, value = RECIPE_ON[trick]
    assert f"{key}={value}" in cards.tricks()[trick]
    assert Recipe().override(cards.tricks()[trick])  # it is a valid recipe


def test_constants_that_are_no_arguments():
    assert kt.optimizers.muon.QUINTIC == (3.4445, -4.7750, 2.0315)  # airbench94_muon.py
    assert normalizer_free.ALPHA == 0.2
    gains = kt.layers.scaled_activation.DEEPMIND_GAINS
    assert (gains["relu"], gains["silu"], gains["gelu"]) == (
        1.7139588594436646, 1.7881293296813965, 1.7015043497085571)  # base.py
    assert models.resnet.BATCH_NORM == {"momentum": 0.9, "epsilon": 1e-5}  # gluon-cv, timm
    for updates, decay in ((1, 2 / 11), (100, 101 / 110), (10**6, 0.9999)):  # arXiv:2102.06171, appendix A
        assert float(kt.callbacks.weight_ema.ema_decay(np.float32(updates), 0.9999)) == pytest.approx(decay, rel=1e-6)


def test_layouts_of_normalizer_free_networks():
    """DeepMind's epsilon is a lower bound of 1e-4; timm adds 1e-5."""
    layouts = normalizer_free.LAYOUTS
    assert (layouts["dm"].eps, layouts["dm"].eps_mode, layouts["dm"].rescale_drop_path) == (1e-4, "max", False)
    assert (layouts["timm"].eps, layouts["timm"].eps_mode, layouts["timm"].rescale_drop_path) == (1e-5, "add", True)


def test_fixups_power():
    """L^(-1 / (2m - 2)): -1/2 for the two convolutions of a basic block, -1/4 for the three of a bottleneck."""
    for convolutions, power in ((2, -0.5), (3, -0.25)):
        init = kt.initializers.FixupInit(16, convolutions, seed=0)
        found = np.std(init((3, 3, 64, 256)))
        assert found == pytest.approx((2 / (9 * 256)) ** 0.5 * 16**power, rel=0.01)


def test_the_nfnet_gate_doubles_and_the_bn_twin_does_not():
    small = dict(input_shape=(32, 32, 3), classes=2, widths=(16, 16, 16, 16), group_width=8)
    for norm, scale in (("none", 2.0), ("batch", 1.0)):
        gates = [layer for layer in models.create_model("nfnet_f0", norm=norm, **small).layers
                 if isinstance(layer, kt.layers.SqueezeExcite)]
        assert {gate.scale for gate in gates} == {scale} and {gate.ratio for gate in gates} == {0.5}
