"""timm's saved arguments as recipes: published files, three procedures of papers, and what a recipe cannot say."""

import pathlib

import pytest

from keras_tricks import cli
from keras_tricks.cli.port import as_python
from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.run.timm_arguments import port
from keras_tricks.utils.errors import UserError

yaml = pytest.importorskip("yaml")

COMMON = """
aug_splits: 0
bce_target_thresh: null
channels_last: true
checkpoint_hist: 10
class_map: ''
cooldown_epochs: 0
data: null
data_dir: /data/imagenet
dataset: ''
decay_milestones: [90, 180, 270]
experiment: ''
hflip: 0.5
img_size: null
in_chans: null
initial_checkpoint: ''
jsd_loss: false
log_interval: 50
lr_cycle_limit: 1
lr_noise: null
min_lr: 0.0
mixup_mode: batch
mixup_off_epoch: 0
mixup_prob: 1.0
mixup_switch_prob: 0.5
model_kwargs: {}
momentum: 0.9
num_classes: null
opt_betas: null
pretrained: false
ratio: [0.75, 1.3333333333333333]
recount: 1
scale: [0.08, 1.0]
sched: cosine
seed: 42
train_split: train
val_split: validation
vflip: 0.0
warmup_epochs: 5
warmup_lr: 0.0
warmup_prefix: false
workers: 8
"""
# ResNet strikes back (2110.00476), procedure A2: table 2
RESNET50_A2 = COMMON + """
aa: rand-m7-mstd0.5-inc1
amp: true
aug_repeats: 3
batch_size: 512
bce_loss: true
color_jitter: 0.4
crop_pct: 0.95
cutmix: 1.0
drop: 0.0
drop_path: 0.05
epochs: 300
input_size: [3, 224, 224]
lr: 0.005
mixup: 0.1
model: resnet50
model_ema: false
opt: lamb
reprob: 0.0
smoothing: 0.0
train_interpolation: bicubic
interpolation: bicubic
weight_decay: 0.02
"""
# ResNet-RS (2103.07579), section 6 and its appendix
RESNETRS50 = COMMON + """
aa: rand-m10-n2-p1
amp: true
amp_dtype: bfloat16
batch_size: 128
bn_momentum: 1.0
color_jitter: 0.0
cutmix: 0.0
drop: 0.25
epochs: 350
input_size: [3, 160, 160]
interpolation: bicubic
lr: null
lr_base: 0.1
lr_base_scale: ''
lr_base_size: 256
mixup: 0.0
model: resnetrs50
model_ema: true
model_ema_decay: 0.9999
opt: sgd
reprob: 0.0
smoothing: 0.1
train_interpolation: bicubic
warmup_epochs: 19
weight_decay: 4.0e-05
"""
# NFNets (2102.06171), section 4 and appendix A
NFNET_F0 = COMMON + """
aa: rand-m5-n4-p1
amp: true
amp_dtype: bfloat16
batch_size: 128
clip_grad: 0.01
clip_mode: agc
cutmix: 1.0
drop: 0.2
drop_path: 0.25
epochs: 360
lr: 1.6
mixup: 0.2
model: dm_nfnet_f0
model_ema: true
model_ema_decay: 0.99999
opt: sgd
reprob: 0.25
smoothing: 0.1
train_interpolation: random
weight_decay: 2.0e-05
"""


COSINE = "warmup_prefix=False: the cosine here starts after the warmup, and timm's with it"
EPOCHS = "the rate changes at every update; timm's changes after each epoch"
PUBLISHED = pathlib.Path(__file__).parents[1] / "golden" / "timm_arguments"  # each file names its source


def ported(text, **options):
    return port(yaml.safe_load(text), **options)


def published(name, **changes):
    return yaml.safe_load((PUBLISHED / f"{name}.yaml").read_text()) | changes


def test_the_published_arguments_of_mobileone():
    """A complete args.yaml, with numbers such as 1e-6 that YAML takes for texts."""
    found = port(published("mobileone_s1"))
    recipe = found.recipe
    assert found.dropped == ["model=custom_mobileone: there is no such model here: set model.name",
                             "min_lr=1e-06: the decay here ends at 0",
                             "model_kwargs={'variant': 's1'}: there is no such setting",
                             "warmup_lr=1e-05: the warmup here starts at 0"]
    assert [line.split(":")[0] for line in found.assumed] == ["one process"]
    assert (recipe.schedule.epochs, recipe.schedule.warmup_epochs, recipe.schedule.decay) == (300, 5.0, "cosine")
    assert (recipe.schedule.batch_size, recipe.schedule.base_learning_rate) == (256, 0.1)
    assert (recipe.optimizer.name, recipe.optimizer.momentum, recipe.optimizer.weight_decay) == ("sgd", 0.9, 1e-4)
    assert recipe.optimizer.ema_decay == 0.0 and recipe.loss.label_smoothing == 0.1
    augment = recipe.augment
    assert (augment.rand_augment_layers, augment.rand_augment_magnitude, augment.rand_augment_magnitude_std,
            augment.rand_augment_increasing, augment.rand_augment_probability) == (10, 1.0, 0.5, True, 0.5)
    assert (augment.color_jitter, augment.mixup_alpha, augment.cutmix_alpha) == ("none", 0.0, 0.0)
    assert augment.random_erasing == 0.0
    assert (recipe.data.mean, recipe.data.std, recipe.data.interpolation) == ((127.5,) * 3, (127.5,) * 3, "bilinear")
    assert (recipe.data.image_size, recipe.data.crop_pct, recipe.data.validation_split) == (224, 0.875, "val")
    assert recipe.train.precision == "float32" and recipe.model.classes == 1000


def test_the_published_arguments_of_a_fine_tuned_vit():
    """A part of args.yaml, without the model."""
    with pytest.raises(UserError, match="The file has no `model`: expected the args.yaml that timm's train.py writes"):
        port(published("vit_tiny_384"))
    found = port(published("vit_tiny_384", model="vit_tiny_patch16_384"))
    assert [line.split("=")[0] for line in found.dropped] == [
        "train_interpolation", "model", "warmup_prefix", "color_jitter_prob", "gaussian_blur_prob", "warmup_lr"]
    recipe = found.recipe
    assert (recipe.optimizer.name, recipe.schedule.base_learning_rate, recipe.schedule.epochs) == ("adam", 5e-5, 20)
    assert (recipe.augment.mixup_alpha, recipe.augment.cutmix_alpha, recipe.augment.mix_both) == (0.1, 0.1, "either")
    assert (recipe.augment.random_erasing, recipe.augment.random_erasing_mode) == (0.5, "pixel")
    assert (recipe.augment.color_jitter, recipe.augment.color_jitter_strength) == ("gluoncv", 0.2)
    assert recipe.model.options == {"dropout_rate": 0.1, "drop_path_rate": 0.05} and recipe.model.classes == 2


def test_the_published_arguments_of_resnet50_with_jsd():
    found = port(published("resnet50_jsd"), processes=2)
    assert [line.split("=")[0] for line in found.dropped] == [
        "train_interpolation", "warmup_prefix", "aug_splits", "split_bn", "jsd_loss"]
    recipe = found.recipe
    assert recipe.model.name == "resnet50b" and recipe.train.precision == "mixed_float16"
    assert (recipe.schedule.batch_size, recipe.schedule.base_learning_rate, recipe.schedule.epochs) == (128, 0.05, 200)
    assert (recipe.augment.rand_augment_magnitude, recipe.augment.rand_augment_increasing) == (9.0, True)
    assert (recipe.augment.random_erasing, recipe.schedule.warmup_epochs) == (0.6, 5.0)


def test_the_published_arguments_of_efficientnet_b2():
    found = port(published("efficientnet_b2"), processes=2)
    assert [line.split("=")[0] for line in found.dropped] == [
        "train_interpolation", "model", "aa", "opt", "warmup_lr"]
    recipe = found.recipe
    assert (recipe.schedule.decay, recipe.schedule.factor, recipe.schedule.batch_size) == ("step", 0.97, 256)
    assert len(recipe.schedule.milestones) == 187 and recipe.schedule.milestones[:3] == (2.4, 4.8, 7.2)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.ema_decay) == (1e-5, 0.9999)
    assert recipe.model.options == {"dropout_rate": 0.3, "drop_path_rate": 0.2}


@pytest.mark.parametrize("kind", ["cosine", "step", "multistep"])
def test_a_warmup_before_the_schedule_adds_its_epochs(kind):
    """As timm's `get_cycle_length` and its milestones count."""
    changes = {"sched": kind, "epochs": 20, "warmup_epochs": 5, "decay_epochs": 8, "decay_milestones": [10, 15]}
    for prefix, expected in ((True, (25, (13.0, 21.0), (15.0, 20.0))), (False, (20, (8.0, 16.0), (10.0, 15.0)))):
        schedule = port(yaml.safe_load(NFNET_F0) | changes | {"warmup_prefix": prefix}).recipe.schedule
        assert schedule.epochs == expected[0]
        if kind != "cosine":
            assert schedule.milestones == expected[1 if kind == "step" else 2]


def test_the_rate_changes_at_every_update():
    assert EPOCHS not in port(yaml.safe_load(NFNET_F0) | {"sched_on_updates": True}).assumed
    assert EPOCHS in ported(NFNET_F0).assumed


def test_resnet50_a2():
    found = ported(RESNET50_A2, processes=4)
    recipe = found.recipe
    assert recipe.model.name == "resnet50b" and recipe.model.options == {"drop_path_rate": 0.05}
    assert (recipe.data.source, recipe.data.data_dir) == ("image_folder", "/data/imagenet")
    assert (recipe.data.image_size, recipe.data.crop_pct, recipe.data.interpolation) == (224, 0.95, "bicubic")
    assert (recipe.augment.rand_augment_layers, recipe.augment.rand_augment_magnitude) == (2, 7.0)
    assert recipe.augment.rand_augment_probability == 0.5 and recipe.augment.color_jitter == "none"
    assert (recipe.augment.mixup_alpha, recipe.augment.cutmix_alpha, recipe.augment.mix_both) == (0.1, 1.0, "either")
    assert (recipe.schedule.batch_size, recipe.schedule.epochs, recipe.schedule.decay) == (2046, 300, "cosine")
    ours = load_recipe("resnet_strikes_back/a2")
    assert (recipe.loss, recipe.optimizer, recipe.augment) == (ours.loss, ours.optimizer, ours.augment)
    assert recipe.model == ours.model
    assert recipe.train.precision == "mixed_float16" and recipe.seed == 42
    assert recipe.schedule.base_learning_rate == 0.005 and recipe.schedule.base_batch_size == 2046
    assert found.dropped == [COSINE] and found.assumed == [
        "a batch of 2046 for 2048, which 3 copies of each image do not divide; the learning rate is the same", EPOCHS]


def test_resnet_rs_50_is_the_recipe_of_this_package():
    found = ported(RESNETRS50, processes=32)
    ours = load_recipe("resnet_rs/rs50_160")
    assert found.dropped == [COSINE]
    for section in ("loss", "optimizer"):
        assert getattr(found.recipe, section) == getattr(ours, section)
    assert found.recipe.model.options == ours.model.options and found.recipe.model.name == ours.model.name
    assert found.recipe.train.precision == ours.train.precision
    for key in ("rand_augment_layers", "rand_augment_magnitude", "rand_augment_probability", "color_jitter"):
        assert getattr(found.recipe.augment, key) == getattr(ours.augment, key)
    for key in ("epochs", "batch_size", "warmup_epochs", "decay"):
        assert getattr(found.recipe.schedule, key) == getattr(ours.schedule, key)
    rates = [r.schedule.base_learning_rate * r.schedule.batch_size / r.schedule.base_batch_size
             for r in (found.recipe, ours)]
    assert rates[0] == pytest.approx(rates[1]) == pytest.approx(1.6)


def test_nfnet_f0():
    found = ported(NFNET_F0, processes=32)
    recipe, ours = found.recipe, load_recipe("nfnet/f0")
    assert (recipe.model.name, recipe.data.image_size, recipe.data.test_image_size) == ("nfnet_f0", 192, 256)
    assert recipe.optimizer == ours.optimizer and recipe.model.options == ours.model.options
    assert recipe.schedule.batch_size == 4096 and recipe.augment.rand_augment_probability == 1.0
    assert [line.split("=")[0] for line in found.dropped] == ["train_interpolation", "warmup_prefix"]
    assert (recipe.augment.random_erasing, recipe.augment.random_erasing_mode) == (0.25, "pixel")


def test_the_batch_size_is_that_of_one_process():
    found = ported(NFNET_F0)
    assert found.recipe.schedule.batch_size == 128 and "give --processes N" in found.assumed[0]


@pytest.mark.parametrize("line, key, value", [
    ("sched: step\ndecay_epochs: 30\nepochs: 90", "schedule.milestones", (30.0, 60.0)),
    ("sched: multistep\ndecay_milestones: [10, 20]", "schedule.milestones", (10.0, 20.0)),
    ("opt: lookahead_sgd", "optimizer.lookahead_steps", 6),
    ("remode: const", "augment.random_erasing_mode", "constant"),
    ("opt: adamw", "optimizer.name", "adam"), ("opt: momentum", "optimizer.nesterov", False),
    ("no_aug: true", "augment.crop", "none"), ("color_jitter: 0.3\naa: null", "augment.color_jitter_strength", 0.3),
    ("mixup_mode: elem", "augment.mixup_per", "sample"), ("mixup_off_epoch: 9", "augment.mix_off_epoch", 9),
    ("grad_accum_steps: 4", "schedule.batch_size", 512), ("dataset: tfds/imagenette", "data.source", "tfds:imagenette"),
    ("mean: [0.5, 0.5, 0.5]", "data.mean", (127.5,) * 3), ("num_classes: 7", "model.classes", 7),
    ("model: resnet18", "model.name", "resnet18"), ("lr: null\nlr_base: 0.2", "schedule.base_learning_rate", 0.1),
    ("lr: null\nopt: lamb\nlr_base: 0.2\nlr_base_size: 512", "schedule.base_learning_rate", 0.1),
])
def test_single_arguments(line, key, value):
    section, field = key.split(".")
    found = getattr(getattr(port(yaml.safe_load(NFNET_F0) | yaml.safe_load(line)).recipe, section), field)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value


@pytest.mark.parametrize("line, named", [
    ("model: vit_base_patch16_224", "model=vit_base_patch16_224: there is no such model here"),
    ("clip_mode: norm", "clip_grad=0.01: clipping by norm"), ("sched: plateau", "sched=plateau: a cosine is used"),
    ("opt: rmsproptf", "opt=rmsproptf: SGD is used"), ("recount: 2", "reprob=0.25: one region"),
    ("aa: rand-m9-mstd0.5", "aa=rand-m9-mstd0.5: mstd of the policy"), ("cooldown_epochs: 10", "lowest rate after"),
    ("frobnicate: 3", "frobnicate=3: unknown"), ("min_lr: 1.0e-05", "min_lr=1e-05: the decay here ends at 0"),
    ("aa: augmix-m5", "aa=augmix-m5: of timm's policies"), ("pretrained: true", "model.weights=pretrained"),
])
def test_what_does_not_carry_over_is_named(line, named):
    assert any(named in sentence for sentence in port(yaml.safe_load(NFNET_F0) | yaml.safe_load(line)).dropped)


def run(*words):
    args = cli.parse(["keras-tricks", "port", *map(str, words)])
    args.run(args)


def test_the_command_writes_a_recipe_that_loads(tmp_path, capsys):
    (tmp_path / "a2").mkdir()
    source = tmp_path / "a2" / "args.yaml"
    source.write_text(RESNET50_A2)
    run(source, "--processes", 4)
    out, err = capsys.readouterr()
    printed = Recipe.from_json(out)
    assert printed.name == "a2" and "assumed     a batch of 2046" in err
    for name in ("recipe.json", "recipe.py"):
        run(source, "--processes", 4, "--output", tmp_path / name)
        assert "a batch of 2046" in capsys.readouterr().out
        assert load_recipe(tmp_path / name).replace(name="a2") == printed
    compile(as_python(printed, "args.yaml"), "recipe.py", "exec")


@pytest.mark.parametrize("content, words", [
    ("", "has no `model`"), ("[1, 2]", "has no `model`"), ("a: [", "is not YAML"), ("model: 3", "has no `model`"),
    ("model: resnet50\nepochs: many", "a value of the wrong kind"), ("model: resnet50\nscale: 3", "of the wrong kind"),
    ("!!python/object:os.system {}", "is not YAML"),
])
def test_files_that_are_none(tmp_path, content, words):
    (tmp_path / "args.yaml").write_text(content)
    with pytest.raises(UserError, match=words):
        run(tmp_path / "args.yaml")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        run(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="--output takes the name of a .json or .py file"):
        run(tmp_path / "args.yaml", "--output", "x.toml")
