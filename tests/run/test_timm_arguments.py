"""timm's saved arguments as recipes: three published trainings, with what a recipe cannot say."""

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
warmup_prefix: true
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


def ported(text, **options):
    return port(yaml.safe_load(text), **options)


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
    assert found.dropped == [] and found.assumed == [
        "a batch of 2046 for 2048, which 3 copies of each image do not divide; the learning rate is the same"]


def test_resnet_rs_50_is_the_recipe_of_this_package():
    found = ported(RESNETRS50, processes=32)
    ours = load_recipe("resnet_rs/rs50_160")
    assert found.dropped == []
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
    assert [line.split("=")[0] for line in found.dropped] == ["train_interpolation"]
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
