import inspect
import json

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_tricks import models
from keras_tricks.models import registry
from keras_tricks.recipe import Augment, Data, Model, Optimizer, Recipe, Schedule, Train, list_recipes, load_recipe
from keras_tricks.utils.errors import UserError

SECTIONS = ("about", "data", "augment", "model", "loss", "optimizer", "schedule", "train", "export")


def test_sections_are_in_the_order_of_the_data_flow():
    assert [f for f in Recipe.model_fields if f not in ("name", "seed")] == list(SECTIONS)


def test_defaults_are_the_baseline_of_the_paper():
    recipe = Recipe()
    assert recipe.schedule == Schedule(epochs=120, batch_size=256, base_learning_rate=0.1, warmup_epochs=0,
                                       decay="step", milestones=(30, 60, 90), factor=0.1)
    assert (recipe.optimizer.momentum, recipe.optimizer.nesterov, recipe.optimizer.weight_decay) == (0.9, True, 1e-4)
    assert (recipe.data.mean, recipe.data.std) == ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375))
    assert (recipe.augment.crop_area, recipe.augment.crop_aspect) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (recipe.data.image_size, recipe.data.short_side) == (224, 256)


# ---- JSON


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_of_the_repository_loads_and_survives_json(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.about.paper and (recipe.about.expected_top1 is None or recipe.about.expected_from)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_names_models_that_exist_and_arguments_they_take(name):
    recipe = load_recipe(name)
    student, teacher = (recipe.model.name, recipe.model.options), (recipe.loss.teacher, recipe.loss.teacher_options)
    for model, options in (student, teacher):
        if model is not None:
            assert models.model_info(model).name == model
            assert set(options) <= set(inspect.signature(registry._entry(model).build).parameters)


def test_recipes_are_found_by_their_place():
    assert {"quickstart", "bag_of_tricks/cifar10_resnet20d"} <= set(list_recipes())
    assert list_recipes() == sorted(list_recipes())


numbers = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)
schedules = st.builds(
    Schedule,
    epochs=st.integers(1, 10**6),
    batch_size=st.integers(1, 10**6),
    base_learning_rate=numbers,
    base_batch_size=st.integers(1, 10**6),
    warmup_epochs=st.floats(0, 1e6, allow_nan=False),
    decay=st.sampled_from(["step", "cosine", "linear", "constant"]),
    milestones=st.lists(st.floats(0, 1e6, allow_nan=False), max_size=6).map(tuple),
    factor=st.floats(1e-9, 1, exclude_max=True),
)


@settings(max_examples=25, deadline=None)
@given(schedule=schedules, seed=st.integers(0, 2**32 - 1), name=st.text(max_size=20))
def test_any_schedule_survives_json_and_replace(schedule, seed, name):
    recipe = Recipe(name=name, seed=seed, schedule=schedule)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe().replace(name=name, seed=seed, schedule=schedule.model_dump()) == recipe


def test_json_of_a_finished_run_is_a_recipe_too(tmp_path):
    recipe = load_recipe("quickstart").override(["schedule.epochs=3", "model.options.stem=cifar"])
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert load_recipe(tmp_path / "recipe.json") == recipe
    assert json.loads(recipe.to_json())["model"]["options"] == {"sync_bn": True, "stem": "cifar"}


@pytest.mark.parametrize("text, words", [("{", "is not JSON"), ("[1]", "must hold a JSON object"), ("3", "must hold")])
def test_a_json_file_that_is_not_a_recipe(tmp_path, text, words):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match=f"r.json {words}"):
        load_recipe(tmp_path / "r.json")


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN"])
def test_non_finite_numbers_are_refused(value):
    with pytest.raises(UserError, match="schedule.base_learning_rate"):
        Recipe().override([f"schedule.base_learning_rate={value}"])


# ---- override, replace


def test_override_reads_json_and_plain_text():
    recipe = Recipe().override([
        "seed=7", "schedule.epochs=5", "schedule.milestones=[2, 4.5]", "data.source=image_folder",
        "data.data_dir=/a b/c=d", "augment.flip=False", "model.weights=null", "train.jit_compile=true",
        "optimizer.weight_decay=5e-5", "data.test_image_size=None",
    ])
    assert recipe.seed == 7 and recipe.schedule.epochs == 5 and recipe.schedule.milestones == (2, 4.5)
    assert recipe.data.source == "image_folder" and recipe.data.data_dir == "/a b/c=d"
    assert recipe.augment.flip is False and recipe.model.weights is None and recipe.train.jit_compile is True
    assert recipe.optimizer.weight_decay == 5e-5 and recipe.data.test_image_size is None
    assert Recipe().schedule.epochs == 120  # the original is unchanged


def test_override_of_one_option_keeps_the_others():
    recipe = Recipe(model=Model(options={"stem": "cifar", "dropout_rate": 0.1}))
    recipe = recipe.override(["model.options.stem=imagenet"])
    assert recipe.model.options == {"stem": "imagenet", "dropout_rate": 0.1} and recipe.model.name == "resnet50d"


def test_replace_takes_values_and_sections():
    recipe = Recipe().replace(seed=1, schedule={"epochs": 200}, train=Train(precision="mixed_bfloat16"))
    assert recipe.seed == 1 and recipe.schedule == Schedule(epochs=200) and recipe.train.precision == "mixed_bfloat16"


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Recipe().seed = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Recipe().schedule.epochs = 3


# ---- errors


@pytest.mark.parametrize(
    "assignment, words",
    [
        ("schedule.epoch=3", ["`schedule.epoch` is unknown", 'Did you mean "schedule.epochs"?', "batch_size"]),
        ("shedule.epochs=3", ["`shedule` is unknown", 'Did you mean "schedule.epochs"?', "optimizer"]),
        ("optimizer.momentun=0.9", ["`optimizer.momentun` is unknown", 'Did you mean "optimizer.momentum"?']),
        ("schedule.epochs=many", ["`schedule.epochs`", "integer", "'many'"]),
        ("schedule.epochs=0", ["`schedule.epochs`", "greater than 0", "Received: 0."]),
        ("schedule.epochs=2.5", ["`schedule.epochs`", "integer", "2.5"]),
        ("schedule=5", ["`schedule`", "5"]),
        ("seed.x=5", ["`seed`", "integer"]),
        ("optimizer.momentum=1", ["`optimizer.momentum`", "less than 1"]),
        ("loss.label_smoothing=-0.1", ["`loss.label_smoothing`", "greater than or equal to 0", "-0.1"]),
        ("schedule.decay=cosin", ["`schedule.decay`", "'step', 'cosine', 'linear' or 'constant'", "'cosin'"]),
        ("data.mean=[1, 2]", ["`data.mean`", "expected 3 numbers, one for each of `data.channels`"]),
        ("data.channels=0", ["`data.channels`", "greater than 0"]),
        ("train.precision=float16", ["`train.precision`", "mixed_float16"]),
        ("schedule.epochs", ["--set takes section.key=value", "'schedule.epochs'"]),
    ],
)
def test_mistakes_name_the_key_and_the_value(assignment, words):
    with pytest.raises(UserError) as error:
        Recipe().override([assignment])
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, hint", [("quikstart", "quickstart"), ("bag_of_tricks/cifar10_resnet20", "bag_of_tricks/cifar10_resnet20d")]
)
def test_an_unknown_recipe_names_the_nearest(name, hint):
    with pytest.raises(UserError, match=f'There is no recipe {name!r}. Did you mean "{hint}"'):
        load_recipe(name)


def test_a_python_file_of_the_user(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from keras_tricks.recipe import *\nRECIPE = Recipe(schedule=Schedule(epochs=2))\n")
    assert load_recipe(file) == Recipe(name="mine", schedule=Schedule(epochs=2))
    file.write_text("RECIPE = 3\n")
    with pytest.raises(UserError, match="mine.py must define RECIPE"):
        load_recipe(str(file))


@pytest.mark.parametrize(
    "line, words",
    [
        ("RECIPE = Recipe(schedule=Schedule(epoch=2))", ["epoch", 'Did you mean "epochs"']),
        ("RECIPE = Recipe(schedule=Schedule(epochs='many'))", ["epochs", "'many'"]),
        ("RECIPE = Recipe(", ["mine.py"]),
        ("import no_such_module", ["mine.py", "no_such_module"]),
    ],
)
def test_a_mistake_in_a_python_file_is_a_user_error(tmp_path, line, words):
    file = tmp_path / "mine.py"
    file.write_text(f"from keras_tricks.recipe import *\n{line}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_sections_hold_what_their_names_say():
    assert Data(image_size=224, test_image_size=256).test_size == 256 and Data(image_size=224).test_size == 224
    assert Augment().mixup_alpha == 0 and Optimizer().no_bias_decay is False


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_area": (0.5, 0.2)},
        {"crop_area": (0.0, 1.0)},
        {"crop_area": (0.08, 1.5)},
        {"crop_aspect": (2.0, 1.0)},
        {"crop_aspect": (0.0, 1.0)},
        {"crop_aspect": (-1.0, 1.0)},
    ],
)
def test_ranges_of_the_random_crop_must_be_ranges(changes):
    with pytest.raises((UserError, pydantic.ValidationError), match=next(iter(changes))):
        Recipe(augment=changes)


def test_the_crop_of_the_evaluation_must_fit_the_short_side():
    Recipe(data={"image_size": 300, "short_side": 256, "eval_crop": "whole"})
    with pytest.raises((UserError, pydantic.ValidationError), match="short_side"):
        Recipe(data={"image_size": 300, "short_side": 256})


@pytest.mark.parametrize("assignment, words", [
    ("data.eval_crop=squashed", ["`data.eval_crop`", "'short_side', 'center', 'squash' or 'whole'", "'squashed'"]),
    ("data.crop_pct=0", ["`data.crop_pct`", "greater than 0"]),
    ("data.crop_pct=1.5", ["`data.crop_pct`", "less than or equal to 1"]),
    ("data.crop_padding=-1", ["`data.crop_padding`", "greater than or equal to 0"]),
    ("data.service=here", ["`data.service`", "grpc://host:5050", "'here'"]),
    ("data.service=grpc://:5050", ["`data.service`", "grpc://host:5050"]),
    ("data.service=http://host:5050", ["`data.service`", "grpc://host:5050"]),
    ("data.service=host:70000", ["`data.service`", "grpc://host:5050"]),
])
def test_mistakes_in_how_images_are_read(assignment, words):
    with pytest.raises(UserError) as error:
        Recipe().override([assignment])
    assert all(word in str(error.value) for word in words), str(error.value)


def test_the_address_of_a_data_service_is_written_in_one_way():
    addresses = ["data.service=host:5050", "data.service=grpc://host:5050", "data.service=null"]
    assert [Recipe().override([a]).data.service for a in addresses] == ["grpc://host:5050"] * 2 + [None]
    assert Recipe().override(["data.service=[::1]:5050"]).data.service == "grpc://[::1]:5050"


def test_only_the_short_side_crop_has_a_short_side_that_must_be_large_enough():
    for crop in ("center", "squash", "whole"):
        assert Recipe(data={"image_size": 300, "eval_crop": crop}).data.short_side == 256
