"""The chains of the papers: their rows are the recipes of the papers' tables."""

import pytest

from keras_tricks import analysis, models, training
from keras_tricks.recipe import load_recipe
from keras_tricks.run.resolve import flatten
from keras_tricks.studies.ablation import CHAINS, describe, rows_of_paper
from keras_tricks.utils import cards
from keras_tricks.utils.errors import UserError

TRICKS = cards.tricks()


def differences(recipe, other):
    """{"section.key": (value, value) as JSON} of the keys that affect training."""
    old, new = flatten(recipe), flatten(other)
    return {key: (old[key], new[key]) for key in old if old[key] != new[key] and key not in ("about", "name")}


def spent(recipe, classes):
    cost = analysis.cost(training.build_network(recipe, classes))
    return cost.parameters, cost.macs


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_makes_rows_of_its_own_recipe(name):
    rows = rows_of_paper(name, None, TRICKS)
    assert len(rows) == 1 + len(CHAINS[name].rows)
    assert [row.against for row in rows] == [None, *range(len(rows) - 1)]
    assert len({row.name for row in rows}) == len(rows)
    for row, before in zip(rows[1:], rows, strict=False):
        assert differences(before.recipe, row.recipe), row.name
    assert len(list(describe(rows))) == len(rows)
    rows[-1].recipe.from_json(rows[-1].recipe.to_json())


def test_an_unknown_chain_names_the_nearest():
    with pytest.raises(UserError, match="`--chain` must be one of .*'bag_of_tricks_table_3'. Did you mean"):
        rows_of_paper("bag_of_tricks_table_3", None, TRICKS)


def test_table_4_goes_from_the_baseline_to_the_efficient_recipe():
    rows = rows_of_paper("bag_of_tricks_table_4", None, TRICKS)
    assert [row.name for row in rows] == ["linear scaling", "+ warmup", "+ zero_gamma", "+ no_bias_decay",
                                          "+ mixed_float16"]
    assert differences(rows[0].recipe, load_recipe("bag_of_tricks/resnet50_baseline")) == {}
    efficient = load_recipe("bag_of_tricks/resnet50")
    assert differences(rows[-1].recipe, efficient) == {"schedule.batch_size": ("256", "1024")}
    assert differences(rows[-1].recipe, efficient.replace(schedule={"batch_size": 256})) == {}


def test_table_4_at_batch_1024():
    recipe = load_recipe("bag_of_tricks/resnet50_baseline").override(["schedule.batch_size=1024"])
    rows = rows_of_paper("bag_of_tricks_table_4", recipe, TRICKS)
    assert differences(rows[-1].recipe, load_recipe("bag_of_tricks/resnet50")) == {}


def test_table_5_is_the_recipes_of_the_four_layouts():
    rows = rows_of_paper("bag_of_tricks_table_5", None, TRICKS)
    for row, name in zip(rows, ("resnet50", "resnet50b", "resnet50c", "resnet50d"), strict=True):
        assert differences(row.recipe, load_recipe(f"bag_of_tricks/{name}")) == {}, row.name


def test_table_6_is_the_recipes_of_the_refinements():
    """The rows with mixup train 200 epochs, as in the paper."""
    rows = rows_of_paper("bag_of_tricks_table_6", None, TRICKS)
    names = ("resnet50d", "resnet50d_cosine", "resnet50d_label_smoothing", "resnet50d_distill", "resnet50d_mixup",
             "resnet50d_distill_mixup")
    for row, name in zip(rows, names, strict=True):
        assert differences(row.recipe, load_recipe(f"bag_of_tricks/{name}")) == {}, row.name
    assert [row.recipe.schedule.epochs for row in rows] == [120] * 4 + [200] * 2


def test_all_rows_of_table_6_at_another_length_train_for_the_same_epochs():
    rows = rows_of_paper("bag_of_tricks_table_6", load_recipe("bag_of_tricks/cifar10_small"), TRICKS)
    assert {row.recipe.schedule.epochs for row in rows} == {8} and rows[4].name == "+ mixup - distillation"


STUDY = ("01_resnet200", "02_cosine", "03_longer", "04_ema", "05_label_smoothing", "06_drop_path", "07_rand_augment",
         "08_dropout", "09_weight_decay", "10_squeeze_excite")


def test_the_resnet_rs_study_is_its_recipes():
    rows = rows_of_paper("resnet_rs_table_1", None, TRICKS)
    for row, name in zip(rows[:-1], STUDY, strict=True):
        assert differences(row.recipe, load_recipe(f"resnet_rs/study_{name}")) == {}, row.name


def test_the_last_row_of_the_resnet_rs_study_sets_two_defaults_explicitly():
    row = rows_of_paper("resnet_rs_table_1", None, TRICKS)[-1].recipe
    recipe = load_recipe("resnet_rs/study_11_resnet_d")
    assert list(differences(row, recipe)) == ["model.options"]
    assert row.model.options == {**recipe.model.options, "drop_path_rule": "stage", "se_ratio": 0.25}


@pytest.mark.slow
def test_the_last_row_of_the_resnet_rs_study_builds_the_network_of_the_paper():
    row = rows_of_paper("resnet_rs_table_1", None, TRICKS)[-1].recipe
    parameters, macs = spent(row, 1000)
    assert parameters == 93_209_992
    assert (parameters, macs) == spent(load_recipe("resnet_rs/study_11_resnet_d"), 1000)


def test_the_normalizer_free_chain_ends_at_the_recipe_with_clipping():
    rows = rows_of_paper("normalizer_free", None, TRICKS)
    recipe = load_recipe("nfnet/cifar10_nf_resnet_1024_agc")
    assert list(differences(rows[-1].recipe, recipe)) == ["model.options"]  # two defaults, set explicitly
    costs = [spent(row.recipe, 10) for row in rows]
    assert costs[0] == costs[1] and costs[3] == costs[4] == spent(recipe, 10)
    assert len({macs for _, macs in costs}) == 1  # the replacement of normalization adds no multiply-adds


@pytest.mark.parametrize("name, recipe", [("bag_of_tricks_table_4", "bag_of_tricks/resnet50"),
                                          ("bag_of_tricks_table_6", "bag_of_tricks/resnet50d_distill_mixup")])
def test_a_recipe_that_has_the_tricks_starts_without_them(name, recipe):
    own = load_recipe(CHAINS[name].recipe)
    rows = rows_of_paper(name, load_recipe(recipe), TRICKS)
    length = {"schedule": {"batch_size": own.schedule.batch_size, "epochs": own.schedule.epochs}}
    for row, wanted in zip(rows, rows_of_paper(name, own, TRICKS), strict=True):
        assert differences(row.recipe.replace(**length), wanted.recipe.replace(**length)) == {}, row.name


def test_tricks_go_before_the_resnet_rs_study_begins():
    recipe = load_recipe("resnet_rs/study_10_squeeze_excite").override(
        ["schedule.epochs=90", "optimizer.weight_decay=1e-4", "model.options.dropout_rate=0"])
    first = rows_of_paper("resnet_rs_table_1", recipe, TRICKS)[0].recipe
    assert first.schedule.decay == "step" and first.optimizer.ema_decay == 0 and first.loss.label_smoothing == 0
    assert first.augment.rand_augment_layers == 0
    assert first.model.options == {"drop_path_rule": "stage", "dropout_rate": 0}  # bn_momentum 0 went with the average
    assert first.schedule.milestones == (30, 60, 90)  # a step decay needs some


def test_own_values_of_a_trick_reach_a_chain():
    tricks = {**TRICKS, "warmup": ("schedule.warmup_epochs=1",)}
    rows = rows_of_paper("bag_of_tricks_table_4", load_recipe("quickstart"), tricks)
    assert [row.recipe.schedule.warmup_epochs for row in rows] == [0, 1, 1, 1, 1]


def test_a_value_that_the_recipe_has_is_not_a_row():
    rows = rows_of_paper("resnet_rs_table_1", load_recipe("resnet_rs/study_11_resnet_d"), TRICKS)
    assert rows[0].name == "baseline" and "+ longer" not in [row.name for row in rows]
    assert [row.against for row in rows] == [None, *range(len(rows) - 1)]


@pytest.mark.parametrize("name", CHAINS)
def test_rows_name_networks_that_exist_and_arguments_they_take(name):
    for row in rows_of_paper(name, None, TRICKS):
        model = row.recipe.model
        assert set(model.options) <= set(models.arguments_of(model.name)), row.name


def test_the_grids_have_every_cell():
    clips = [row.recipe for row in rows_of_paper("agc_grid", None, TRICKS)]
    cells = {(r.schedule.batch_size, r.optimizer.agc_clip_factor) for r in clips}
    assert len(cells) == len(clips) == 18
    twins = [row.recipe for row in rows_of_paper("normalizer_free_twins", None, TRICKS)]
    cells = {(r.schedule.batch_size, r.model.options.get("norm", "none"), r.optimizer.agc_clip_factor) for r in twins}
    assert len(cells) == len(twins) == 12
    depths = [row.recipe.model.options for row in rows_of_paper("skipinit_depths", None, TRICKS)]
    assert len({(options["depth"], options["norm"]) for options in depths}) == len(depths) == 9


def test_the_additive_study_of_nfnets_ends_its_first_part_at_the_recipe():
    rows = rows_of_paper("nfnet_table_2", None, TRICKS)
    recipe = load_recipe("nfnet/f0")
    assert list(differences(rows[5].recipe, recipe)) == ["model.options"]  # two defaults, set explicitly
    assert rows[5].name == "+ CutMix" and rows[0].recipe.augment.rand_augment_layers == 0
