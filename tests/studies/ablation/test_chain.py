"""The rows of an ablation: the changes of adding a trick and of removing one."""

import pytest

from keras_tricks.recipe import Recipe
from keras_tricks.run.resolve import flatten
from keras_tricks.studies.ablation import cumulative_rows, describe, leave_one_out_rows, resolve_tricks
from keras_tricks.utils import cards
from keras_tricks.utils.errors import UserError

TRICKS = cards.tricks()
PLAIN = Recipe().replace(name="plain")
FULL = Recipe().replace(
    name="full",
    augment={"mixup_alpha": 0.2},
    model={"zero_gamma": True, "options": {"stem": "cifar", "drop_path_rate": 0.3}},
    loss={"label_smoothing": 0.1},
    schedule={"decay": "cosine", "warmup_epochs": 5},
)


def changed(rows, number, against=None):
    """{"section.key": value as JSON} of the keys that differ from the row it is compared with."""
    old, new = flatten(rows[rows[number].against if against is None else against].recipe), flatten(rows[number].recipe)
    assert old.keys() == new.keys()
    return {key: value for key, value in new.items() if old[key] != value}


# ---- a chain


def test_each_row_differs_from_the_one_before_by_its_trick():
    rows = cumulative_rows(PLAIN, ["warmup", "cosine", "label_smoothing", "drop_path", "mixup cutmix"], TRICKS)
    assert [row.name for row in rows] == ["baseline", "+ warmup", "+ cosine", "+ label_smoothing", "+ drop_path",
                                          "+ mixup + cutmix"]
    assert [row.against for row in rows] == [None, 0, 1, 2, 3, 4]
    assert rows[0].recipe == PLAIN
    assert [changed(rows, number) for number in range(1, 6)] == [
        {"schedule.warmup_epochs": "5.0"},
        {"schedule.decay": '"cosine"'},
        {"loss.label_smoothing": "0.1"},
        {"model.options": '{"drop_path_rate": 0.1}'},
        {"augment.mixup_alpha": "0.2", "augment.cutmix_alpha": "1.0"},
    ]


def test_one_comes_as_another_goes():
    rows = cumulative_rows(PLAIN, ["distillation", "mixup -distillation", "back: distillation"], TRICKS, first="none")
    assert [row.name for row in rows] == ["none", "+ distillation", "+ mixup - distillation", "+ back"]
    assert changed(rows, 2) == {"augment.mixup_alpha": "0.2", "loss.teacher": "null"}
    assert changed(rows, 2, against=0) == {"augment.mixup_alpha": "0.2"}
    assert changed(rows, 3) == {"loss.teacher": '"resnet152d"'}


def test_values_have_a_name():
    rows = cumulative_rows(PLAIN, ["longer: schedule.epochs=9",
                                   "wider: model.options.width_factor=2 schedule.batch_size=64",
                         "smooth: label_smoothing loss.smoothing=uniform"], TRICKS)
    assert [row.name for row in rows] == ["baseline", "+ longer", "+ wider", "+ smooth"]
    assert changed(rows, 1) == {"schedule.epochs": "9"}
    assert changed(rows, 2) == {"model.options": '{"width_factor": 2}', "schedule.batch_size": "64"}
    assert changed(rows, 3) == {"loss.label_smoothing": "0.1", "loss.smoothing": '"uniform"'}


def test_values_need_no_name():
    rows = cumulative_rows(PLAIN, ["schedule.epochs=9"], TRICKS)
    assert rows[1].name == "+ schedule.epochs=9" and changed(rows, 1) == {"schedule.epochs": "9"}


def test_options_of_the_model_stay_as_others_come():
    rows = cumulative_rows(PLAIN.override(["model.options.stem=cifar"]),
                           ["drop_path", "squeeze_excite", "-drop_path"], TRICKS)
    assert [row.recipe.model.options for row in rows] == [
        {"stem": "cifar"}, {"stem": "cifar", "drop_path_rate": 0.1},
        {"stem": "cifar", "drop_path_rate": 0.1, "se_ratio": 0.25}, {"stem": "cifar", "se_ratio": 0.25}]


@pytest.mark.parametrize("word", ["warmpu", "-warmpu", "longer: warmpu"])
def test_the_nearest_trick_is_named(word):
    with pytest.raises(UserError, match="no trick 'warmpu'. Did you mean \"warmup\"[?] .*list tricks"):
        cumulative_rows(PLAIN, [word], TRICKS)


def test_a_value_that_a_recipe_refuses():
    with pytest.raises(UserError, match="`schedule.epoch` is unknown. Did you mean \"schedule.epochs\""):
        cumulative_rows(PLAIN, ["longer: schedule.epoch=9"], TRICKS)


@pytest.mark.parametrize("recipe, texts", [(FULL, ["mixup"]), (PLAIN, ["step_decay"]), (PLAIN, ["-mixup"]),
                                           (PLAIN, ["warmup", "warmup"]), (PLAIN, [""]),
                                           (PLAIN, ["same: schedule.epochs=120"])])
def test_a_row_that_changes_nothing(recipe, texts):
    with pytest.raises(UserError, match=f"The row '{texts[-1]}' changes nothing: the recipe already has it.* --remove"):
        cumulative_rows(recipe, texts, TRICKS)


def test_the_name_of_the_recipe_is_not_a_change():
    with pytest.raises(UserError, match="changes nothing"):
        cumulative_rows(PLAIN, ["mine: name=other about.note=mine"], TRICKS)


def test_two_rows_of_one_name():
    with pytest.raises(UserError, match="Two rows are named '[+] mixup': .* another name, such as \"both: mixup\""):
        cumulative_rows(PLAIN, ["mixup", "cutmix -mixup", "mixup"], TRICKS)


def test_two_tricks_that_set_the_same_key():
    with pytest.raises(UserError, match="'mixed_bfloat16' sets train.precision, which 'mixed_float16' has already set"):
        cumulative_rows(PLAIN, ["mixed_float16", "warmup", "mixed_bfloat16"], TRICKS)
    with pytest.raises(UserError, match="'step_decay' sets schedule.decay, which 'cosine' has already set"):
        cumulative_rows(PLAIN, ["cosine step_decay"], TRICKS)
    rows = cumulative_rows(PLAIN, ["mixed_float16", "warmup", "mixed_bfloat16"], TRICKS, strict=False)
    assert rows[-1].recipe.train.precision == "mixed_bfloat16"


def test_a_trick_may_set_what_a_value_has_set():
    rows = cumulative_rows(PLAIN, ["warm: schedule.warmup_epochs=1", "warmup", "hot: schedule.warmup_epochs=9"], TRICKS)
    assert [row.recipe.schedule.warmup_epochs for row in rows] == [0, 1, 5, 9]


@pytest.mark.parametrize("text", ["-mixed_float16 mixed_bfloat16", "mixed_bfloat16 -mixed_float16"])
def test_no_conflict_where_one_goes_as_the_other_comes(text):
    """The second text is the one that the message about a conflict suggests."""
    rows = cumulative_rows(PLAIN, ["mixed_float16", text], TRICKS)
    assert [row.recipe.train.precision for row in rows] == ["float32", "mixed_float16", "mixed_bfloat16"]


# ---- leave one out


def test_without_a_trick_the_defaults_are_back():
    rows = leave_one_out_rows(FULL, ["mixup", "cosine", "label_smoothing", "zero_gamma", "warmup"], TRICKS)
    assert [row.name for row in rows] == ["everything", "- mixup", "- cosine", "- label_smoothing", "- zero_gamma",
                                          "- warmup"]
    assert [row.against for row in rows] == [None, 0, 0, 0, 0, 0] and rows[0].recipe == FULL
    assert [changed(rows, number) for number in range(1, 6)] == [
        {"augment.mixup_alpha": "0.0"}, {"schedule.decay": '"step"'}, {"loss.label_smoothing": "0.0"},
        {"model.zero_gamma": "false"}, {"schedule.warmup_epochs": "0.0"}]


def test_an_option_of_the_model_goes():
    (_, row) = leave_one_out_rows(FULL, ["drop_path"], TRICKS)
    assert row.recipe.model.options == {"stem": "cifar"} and row.recipe.model.zero_gamma


def test_all_of_a_trick_goes():
    tricks = resolve_tricks(["mine: augment.mixup_alpha=1 model.options.stem=cifar"], TRICKS)
    (_, row) = leave_one_out_rows(FULL, ["mine"], tricks)
    assert row.recipe.augment.mixup_alpha == 0 and row.recipe.model.options == {"drop_path_rate": 0.3}


@pytest.mark.parametrize("name, sets", [("cutmix", "augment.cutmix_alpha=1.0"), ("agc", "optimizer.agc_clip_factor"),
                                        ("squeeze_excite", "model.options.se_ratio")])
def test_a_trick_the_recipe_does_not_have(name, sets):
    with pytest.raises(UserError, match=f"--remove {name}: the recipe 'full' does not have it .{sets}"):
        leave_one_out_rows(FULL, ["mixup", name], TRICKS)


@pytest.mark.parametrize("recipe, name", [
    (FULL, "step_decay"),  # gave a row "- step_decay" that decays in steps
    (PLAIN.override(["augment.crop=none"]), "pad_crop"),  # gave a random crop
    (PLAIN.override(["train.precision=mixed_float16"]), "mixed_bfloat16"),
])
def test_a_trick_the_recipe_does_not_have_because_it_has_another(recipe, name):
    with pytest.raises(UserError, match=f"--remove {name}: .* does not have it"):
        leave_one_out_rows(recipe, [name], TRICKS)


def test_a_network_has_none_without_it():
    with pytest.raises(UserError, match="--remove fixup: model.name=fixup_resnet50 names a network"):
        leave_one_out_rows(PLAIN, ["fixup"], TRICKS)


def test_a_trick_of_other_values_than_the_card_can_be_left_out():
    (_, row) = leave_one_out_rows(FULL.override(["augment.mixup_alpha=0.4"]), ["mixup"], TRICKS)
    assert row.recipe.augment.mixup_alpha == 0


def test_leaving_one_out_twice():
    with pytest.raises(UserError, match="mixup"):
        leave_one_out_rows(FULL, ["mixup", "mixup"], TRICKS)


def test_the_nearest_of_what_may_be_left_out():
    with pytest.raises(UserError, match="Did you mean \"mixup\""):
        leave_one_out_rows(FULL, ["mixupp"], TRICKS)


# ---- tricks of the user


def test_own_values_of_a_trick_and_own_tricks():
    tricks = resolve_tricks(["warmup: schedule.warmup_epochs=1", "tiny_batch: schedule.batch_size=8 schedule.epochs=3"])
    assert tricks["warmup"] == ("schedule.warmup_epochs=1",) and tricks["mixup"] == TRICKS["mixup"]
    rows = cumulative_rows(PLAIN, ["warmup", "tiny_batch"], tricks)
    assert changed(rows, 1) == {"schedule.warmup_epochs": "1.0"}
    assert changed(rows, 2) == {"schedule.batch_size": "8", "schedule.epochs": "3"}
    assert cards.tricks() == TRICKS and "tiny_batch" not in cards.tricks()


def test_the_last_definition_of_a_trick_counts():
    assert resolve_tricks(["a: x.y=1", "a: x.y=2"], {"b": ("x.z=1",)}) == {"b": ("x.z=1",), "a": ("x.y=2",)}
    assert resolve_tricks([], {}) == {}


@pytest.mark.parametrize("text", ["", "warmup", "warmup:", "warmup: ", "warmup: five", "warmup=schedule.epochs=5",
                                  "warmup:schedule.epochs=5", "x: schedule.epochs=3 more", "x: mixup", "x: =3",
                                  "schedule.epochs=3"])
def test_an_invalid_definition(text):
    with pytest.raises(UserError, match="--define takes NAME: section.key=value ..., such as .* Received: "):
        resolve_tricks([text])


@pytest.mark.parametrize("text", [": schedule.epochs=3", "my trick: schedule.epochs=3", "-x: schedule.epochs=3",
                                  "x: .=3"])
def test_a_definition_that_no_row_could_use(text):
    with pytest.raises(UserError, match="--define takes NAME"):
        resolve_tricks([text])


# ---- output


def test_only_what_differs_is_shown():
    rows = cumulative_rows(PLAIN, ["warmup", "longer: schedule.epochs=9 model.options.stem=cifar", "-warmup"], TRICKS)
    assert list(describe(rows)) == [
        "baseline  plain, resnet50d",
        "+ warmup  schedule.warmup_epochs=5.0",
        "+ longer  schedule.epochs=9 model.options.stem='cifar'",
        "- warmup  schedule.warmup_epochs=0.0",
    ]


def test_an_option_that_went_is_shown_as_none():
    assert list(describe(leave_one_out_rows(FULL, ["drop_path", "mixup"], TRICKS))) == [
        "everything   full, resnet50d",
        "- drop_path  model.options.drop_path_rate=None",
        "- mixup      augment.mixup_alpha=0.0",
    ]


# ---- the grammar of a row


@pytest.mark.parametrize("text, name, changes", [
    ("schedule.milestones=[30, 60, 90]", None, ["schedule.milestones=[30, 60, 90]"]),
    ("steps: schedule.milestones=[2, 4] schedule.factor=0.2", "steps", ["schedule.milestones=[2, 4]",
                                                                       "schedule.factor=0.2"]),
    ('model.options={"stem": "cifar", "widths": [1, 2]} warmup', None,
     ['model.options={"stem": "cifar", "widths": [1, 2]}', "warmup"]),
    ('data.data_dir="my images/a: b" -mixup', None, ['data.data_dir="my images/a: b"', "-mixup"]),
    ("both of them: mixup  -distillation", "both of them", ["mixup", "-distillation"]),
    ('data.data_dir="a]b"', None, ['data.data_dir="a]b"']),
])
def test_a_list_may_have_spaces(text, name, changes):
    from keras_tricks.studies.ablation.chain import parse_row

    assert parse_row(text) == (name, changes)


@pytest.mark.parametrize("text", ["schedule.milestones=[30, 60", 'data.data_dir="my images', "a=[[1]"])
def test_a_bracket_or_quote_that_is_not_closed(text):
    with pytest.raises(UserError, match="is not closed"):
        cumulative_rows(PLAIN, [text], TRICKS)


def test_a_row_with_a_list():
    rows = cumulative_rows(PLAIN, ["early: schedule.milestones=[10, 20, 30]"], TRICKS)
    assert changed(rows, 1) == {"schedule.milestones": "[10.0, 20.0, 30.0]"}


@pytest.mark.parametrize("assignment", ["macs=1", "a.b=1", "schedule=1", "schedule.epoch=1"])
def test_a_key_that_does_not_exist_cannot_be_removed(assignment):
    with pytest.raises(UserError, match="There is no recipe key|does not have it|unknown"):
        leave_one_out_rows(FULL, [assignment], TRICKS)
