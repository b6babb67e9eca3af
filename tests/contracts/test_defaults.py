"""The constants of the papers are the defaults, and every default in a docstring is the default of the signature."""

import importlib
import inspect
import re

import pytest

import keras_tricks as kt
from keras_tricks.utils import imagenet

BAG_OF_TRICKS, RESNET_RS, NFNET = "arXiv:1812.01187", "arXiv:2103.07579", "arXiv:2102.06171"
NF_RESNET, GOYAL, SMITH = "arXiv:2101.08692", "arXiv:1706.02677", "arXiv:1711.00489"

DEFAULTS = [  # function or class, argument, value, source
    (kt.optimizers.SGD, "momentum", 0.9, f"{BAG_OF_TRICKS}, gluon-cv's train_imagenet.py"),
    (kt.optimizers.SGD, "nesterov", True, f"{BAG_OF_TRICKS}, section 2.1"),
    (kt.optimizers.AGC, "clip_factor", 0.01, f"{NFNET}, section 4.1"),
    (kt.optimizers.AGC, "eps", 1e-3, f"{NFNET}, section 4.1"),
    (kt.optimizers.AGC, "exclude", "classifier", f"{NFNET}, section 4.1"),
    (kt.ops.clip_unitwise, "clip_factor", 0.01, f"{NFNET}, section 4.1"),
    (kt.ops.clip_unitwise, "eps", 1e-3, f"{NFNET}, section 4.1"),
    (kt.optimizers.LossScale, "initial_scale", 2.0**15, "Keras 3.15.1, LossScaleOptimizer"),
    (kt.optimizers.LossScale, "dynamic_growth_steps", 2000, "Keras 3.15.1, LossScaleOptimizer"),
    (kt.losses.LabelSmoothingCrossentropy, "label_smoothing", 0.1, f"{BAG_OF_TRICKS}, section 5.2"),
    (kt.losses.LabelSmoothingCrossentropy, "smoothing", "others", f"{BAG_OF_TRICKS}, section 5.2"),
    (kt.losses.smooth_labels, "label_smoothing", 0.1, f"{BAG_OF_TRICKS}, section 5.2"),
    (kt.losses.Distiller, "temperature", 20.0, f"{BAG_OF_TRICKS}, section 5.3"),
    (kt.losses.Distiller, "hard_weight", 1.0, f"{BAG_OF_TRICKS}, section 5.3"),
    (kt.losses.Distiller, "soft_weight", 1.0, f"{BAG_OF_TRICKS}, section 5.3"),
    (kt.losses.distillation_loss, "temperature", 20.0, f"{BAG_OF_TRICKS}, section 5.3"),
    (kt.schedules.linear_scaling, "base_learning_rate", 0.1, f"{BAG_OF_TRICKS}, section 3.1"),
    (kt.schedules.linear_scaling, "base_batch_size", 256, f"{BAG_OF_TRICKS}, section 3.1; {GOYAL}"),
    *((cls, argument, value, f"{BAG_OF_TRICKS}, section 3.1")
      for cls in (kt.schedules.WarmupLinearScaling, kt.callbacks.WarmupLinearScaling)
      for argument, value in (("base_learning_rate", 0.1), ("base_batch_size", 256), ("warmup_epochs", 5))),
    (kt.schedules.step_decay, "milestones", (30, 60, 90), f"{BAG_OF_TRICKS}, section 2.1"),
    (kt.schedules.step_decay, "factor", 0.1, f"{BAG_OF_TRICKS}, section 2.1"),
    (kt.schedules.Step, "milestones", (30, 60, 90), f"{BAG_OF_TRICKS}, section 2.1"),
    (kt.schedules.Step, "factor", 0.1, f"{BAG_OF_TRICKS}, section 2.1"),
    (kt.schedules.Exponential, "rate", 0.97, "arXiv:1905.11946, section 5.2"),
    (kt.callbacks.WeightEMA, "decay", 0.9999, f"{RESNET_RS}, TPU configuration files"),
    (kt.layers.DeepStem, "filters", (32, 32, 64), f"{BAG_OF_TRICKS}, figure 2b"),
    (kt.layers.AvgPoolShortcut, "strides", 2, f"{BAG_OF_TRICKS}, figure 2c"),
    (kt.layers.SqueezeExcite, "ratio", 0.25, f"{RESNET_RS}, TPU configuration files"),
    (kt.layers.SqueezeExcite, "activation", "relu", "arXiv:1709.01507; nfnets/base.py"),
    (kt.layers.GhostBatchNormalization, "ghost_size", 128, "arXiv:1705.08741, main_gbn.py"),
    (kt.layers.ScaledWSConv2D, "eps", 1e-4, "nfnets/base.py"),
    (kt.layers.ScaledWSConv2D, "eps_mode", "max", "nfnets/base.py"),
    (kt.layers.WSConv2D, "eps", 1e-5, "arXiv:1903.10520, the authors' code"),
    (kt.layers.SkipGain, "initial", 0.0, "arXiv:2002.10444"),
    (kt.initializers.FixupInit, "convolutions", 3, "arXiv:1901.09321, bottleneck blocks"),
    *((cls, "epsilon", 1e-5, "gluon-cv's resnetv1b.py") for cls in (kt.layers.DeepStem, kt.layers.AvgPoolShortcut)),
    *((cls, "momentum", 0.9, "gluon-cv's resnetv1b.py") for cls in (kt.layers.DeepStem, kt.layers.AvgPoolShortcut)),
    (kt.models.ResNet, "bn_momentum", 0.9, "gluon-cv's resnetv1b.py"),
    (kt.models.ResNet, "filters", (64, 128, 256, 512), "arXiv:1512.03385, table 1"),
    (kt.models.ResNetRS, "se_ratio", 0.25, f"{RESNET_RS}, TPU configuration files"),
    (kt.models.ResNetRS, "stem_pool", "conv", "tensorflow/tpu, resnet_model.py"),
    (kt.models.ResNetRS, "drop_path_rule", "stage", "tensorflow/tpu, resnet_model.py"),
    (kt.models.NFResNet, "alpha", 0.2, f"{NF_RESNET}, section 4.1"),
    (kt.models.NFResNet, "bottleneck_ratio", 0.25, "nfnets/nf_resnet.py"),
    (kt.models.NFResNet, "skip_gain_init", 0.0, "nfnets/nf_resnet.py"),
    (kt.models.NFNet, "alpha", 0.2, f"{NFNET}, nfnets/nfnet.py"),
    (kt.models.NFNet, "widths", (256, 512, 1536, 1536), f"{NFNET}, section 4"),
    (kt.models.NFNet, "group_width", 128, f"{NFNET}, section 4"),
    (kt.models.NFNet, "bottleneck_ratio", 0.5, f"{NFNET}, nfnets/nfnet.py"),
    (kt.models.NFNet, "se_ratio", 0.5, f"{NFNET}, nfnets/nfnet.py"),
    (kt.models.NFNet, "final_multiplier", 2, f"{NFNET}, nfnets/nfnet.py"),
    (kt.models.NFNet, "activation", "gelu", f"{NFNET}, section 4"),
    (kt.models.SkipInitResNet, "skip_gain_init", 0.0, "arXiv:2002.10444, nfnets/skipinit_resnet.py"),
    (kt.models.WideResNet, "dropout_rate", 0.0, SMITH),
]

RECIPES = [  # recipe, key, value, source
    ("bag_of_tricks/resnet50_baseline", "augment.pca_noise", 0.1, f"{BAG_OF_TRICKS}, section 2.1"),
    ("bag_of_tricks/resnet50_baseline", "augment.color_jitter_strength", 0.4, f"{BAG_OF_TRICKS}, section 2.1"),
    ("bag_of_tricks/resnet50_baseline", "optimizer.weight_decay", 1e-4, "gluon-cv's train_imagenet.py"),
    ("bag_of_tricks/resnet50_baseline", "schedule.epochs", 120, f"{BAG_OF_TRICKS}, section 2.1"),
    ("bag_of_tricks/resnet50d", "schedule.batch_size", 1024, f"{BAG_OF_TRICKS}, section 3.1"),
    ("bag_of_tricks/resnet50d", "schedule.warmup_epochs", 5, f"{BAG_OF_TRICKS}, section 3.1"),
    ("bag_of_tricks/resnet50d_label_smoothing", "loss.label_smoothing", 0.1, f"{BAG_OF_TRICKS}, section 5.2"),
    ("bag_of_tricks/resnet50d_distill", "loss.temperature", 20.0, f"{BAG_OF_TRICKS}, section 5.3"),
    ("bag_of_tricks/resnet50d_mixup", "augment.mixup_alpha", 0.2, f"{BAG_OF_TRICKS}, section 5.4"),
    ("bag_of_tricks/resnet50d_mixup", "schedule.epochs", 200, f"{BAG_OF_TRICKS}, section 5.4"),
    ("resnet_rs/rs50_160", "optimizer.ema_decay", 0.9999, f"{RESNET_RS}, TPU configuration files"),
    ("resnet_rs/rs50_160", "optimizer.weight_decay", 4e-5, f"{RESNET_RS}, section 5"),
    ("resnet_rs/rs50_160", "schedule.epochs", 350, f"{RESNET_RS}, section 5"),
    ("nfnet/f0", "optimizer.ema_decay", 0.99999, f"{NFNET}, appendix A"),
    ("nfnet/f0", "optimizer.agc_clip_factor", 0.01, f"{NFNET}, section 4.1"),
    ("nfnet/f0", "optimizer.weight_decay", 2e-5, f"{NFNET}, appendix A"),
    ("nfnet/f0", "augment.mixup_alpha", 0.2, f"{NFNET}, appendix A"),
    ("nfnet/f0", "augment.cutmix_alpha", 1.0, f"{NFNET}, appendix A"),
    ("nfnet/f0", "schedule.warmup_epochs", 5, f"{NFNET}, appendix A"),
    ("nfnet/f0", "schedule.epochs", 360, f"{NFNET}, appendix A"),
]

CONSTANTS = [  # module, name, value, source
    (imagenet, "MEAN", (123.68, 116.779, 103.939), f"{BAG_OF_TRICKS}, section 2.1"),
    (imagenet, "STD", (58.393, 57.12, 57.375), f"{BAG_OF_TRICKS}, section 2.1"),
    ("models.inception_resnet_v2", "STAGES", (("block35", 0.17), ("block17", 0.1), ("block8", 0.2)), "TF-slim"),
    ("models.inception_resnet_v2", "BATCH_NORM", {"momentum": 0.99, "epsilon": 1e-3}, "keras.applications"),
    ("models.resnet", "BATCH_NORM", {"momentum": 0.9, "epsilon": 1e-5}, "gluon-cv's resnetv1b.py"),
    ("models.wide_resnet", "STAGES", (16, 32, 64), "arXiv:1605.07146, table 1"),
]


def label(case):
    thing = case[0] if isinstance(case[0], str) else case[0].__name__.rpartition(".")[2]
    return f"{thing}-{case[1]}"


@pytest.mark.parametrize("thing, argument, value, source", DEFAULTS, ids=map(label, DEFAULTS))
def test_the_default_is_the_constant_of_the_paper(thing, argument, value, source):
    assert inspect.signature(thing).parameters[argument].default == value, source


@pytest.mark.parametrize("name, key, value, source", RECIPES, ids=map(label, RECIPES))
def test_the_recipe_has_the_constant_of_the_paper(name, key, value, source):
    section, _, field = key.partition(".")
    assert getattr(getattr(kt.load_recipe(name), section), field) == value, source


@pytest.mark.parametrize("module, name, value, source", CONSTANTS, ids=map(label, CONSTANTS))
def test_the_constant_is_that_of_the_source(module, name, value, source):
    if isinstance(module, str):
        module = importlib.import_module(f"keras_tricks.{module}")
    assert getattr(module, name) == value, source


# ---- docstrings

FOLDERS = ("analysis", "callbacks", "data", "distribution", "export", "initializers", "layers", "losses", "models",
           "ops", "optimizers", "schedules", "surgery", "weights")


def documented():
    """(name, docstring, callable) of every exported function and class, and of the public methods of the classes."""
    for folder in FOLDERS:
        module = importlib.import_module(f"keras_tricks.{folder}")
        for name, thing in vars(module).items():
            if not callable(thing) or not getattr(thing, "__module__", "").startswith(f"keras_tricks.{folder}."):
                continue
            yield f"{folder}.{name}", thing.__doc__, thing
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    value = getattr(value, "__func__", value)
                    if inspect.isfunction(value) and not method.startswith("_"):
                        yield f"{folder}.{name}.{method}", value.__doc__, value


def arguments(text):
    """[(name, description)] of the section "Args" of a docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    if "Args:" not in lines:
        return []
    found = []
    for line in lines[lines.index("Args:") + 1:]:
        if line and not line.startswith("    "):
            break
        if match := re.match(r"    (\*{0,2}\w[\w, .*]*): (.*)", line):
            found.append((re.findall(r"\w+", match[1]), match[2]))
        elif found and line.startswith("        "):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return [(name, text) for names, text in found for name in names]


def wrong_entries(docstring, thing):
    """Documented arguments that are not in the signature, and documented defaults that are not its defaults."""
    described = arguments(docstring)
    parameters = inspect.signature(thing).parameters if described else {}
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, text in described:
        if name not in parameters:
            if not takes_more:
                yield f"{name} is not an argument"
            continue
        stated = re.search(r"Defaults? to `([^`]*)`", text)
        default = parameters[name].default
        if stated and (default is inspect.Parameter.empty or eval(stated[1], {}) != default):
            yield f"{name} defaults to {default!r}, not to {stated[1]}"


def test_docstrings_state_the_arguments_and_defaults_of_the_signature():
    pytest.importorskip("tensorflow")  # `kt.data` and `kt.distribution` are among them
    wrong, count = [], 0
    for name, docstring, thing in documented():
        count += len(re.findall(r"Defaults? to `", docstring or ""))
        wrong += [f"{name}: {entry}" for entry in wrong_entries(docstring, thing)]
    assert wrong == []
    assert count > 150, "the loop looks at nothing"


@pytest.mark.parametrize("text, words", [
    ("x: int. Defaults to `2`.", "x defaults to 1, not to 2"),
    ("y: an argument of before.", "y is not an argument"),
    ("x: a long\n            text. Defaults to `None`.", "x defaults to 1, not to None"),
])
def test_a_wrong_docstring_is_found(text, words):
    def function(x=1):
        return x

    assert list(wrong_entries(f"One line.\n\n    Args:\n        {text}\n", function)) == [words]
