import re

import pytest

from keras_tricks import cli
from keras_tricks.recipe import Recipe, list_recipes, load_recipe
from keras_tricks.run.build import build_optimizer
from keras_tricks.run.combinations import remarks
from keras_tricks.studies.ablation import rows_of_paper
from keras_tricks.studies.ablation.chain import without_trick
from keras_tricks.utils import cards


@pytest.mark.parametrize("name", list_recipes())
def test_no_recipe_of_the_repository_has_a_pair_that_does_not_fit(name):
    found = list(remarks(load_recipe(name)))
    if name == "torchvision/resnet50_v2":  # whose reference averages the moving statistics too
        assert len(found) == 1 and "torchvision does it" in found[0]
    else:
        assert found == []


@pytest.mark.parametrize("chain", ["bag_of_tricks_table_4", "bag_of_tricks_table_6", "resnet_rs_table_1"])
def test_no_row_of_a_paper_has_one(chain):
    assert [text for row in rows_of_paper(chain, None, cards.tricks()) for text in remarks(row.recipe)] == []


@pytest.mark.parametrize("changes, words", [
    (["optimizer.ema_decay=0.99"], "bn_momentum=0.9: the statistics are averaged twice"),
    (["optimizer.ema_decay=0.99", "model.options.bn_momentum=0.5"], "bn_momentum=0.5"),
    (["schedule.decay=cosine", "schedule.milestones=[3]"], "milestones [3.0] have no effect: schedule.decay is cosine"),
    (["schedule.milestones=[]"], "the learning rate is constant"),
    (["augment.mixup_alpha=0.2", "about.paper=arXiv:1812.01187"], "table 6, train for 200"),
])
def test_a_pair_that_does_not_fit_has_one_line(changes, words):
    found, = remarks(Recipe().override(changes))
    assert words in found and "\n" not in found


@pytest.mark.parametrize("changes", [
    ["optimizer.ema_decay=0.99", "model.options.bn_momentum=0.0"],
    ["optimizer.ema_decay=0.99", "model.name=nfnet_f0"],  # no batch normalization
    ["optimizer.ema_decay=0.99", "model.name=mypackage.nets:build"], ["model.name=<function build>"],
    ["optimizer.ema_decay=0.99", "model.name=mobilenet"],  # its momentum is no option
    ["schedule.decay=cosine"],
    ["schedule.decay=cosine", "schedule.milestones=[]"],
    ["augment.mixup_alpha=0.2"],
])
def test_pairs_that_fit_have_none(changes):
    assert list(remarks(Recipe().override(changes))) == []


def test_plan_shows_them(capsys):
    cli.run(cli.parse(["keras-tricks", "plan", "quickstart", "--set", "optimizer.ema_decay=0.99"]))
    assert re.search(r"^note +optimizer.ema_decay with", capsys.readouterr().out, re.MULTILINE)


def test_float16_comes_with_a_loss_scale():
    for name in ("sgd", "adam"):
        recipe = Recipe().override(["train.precision=mixed_float16", f"optimizer.name={name}"])
        assert type(build_optimizer(recipe)).__name__ == "LossScale"


def test_momentum_0_goes_with_the_average():
    recipe = load_recipe("resnet_rs/rs50_160")
    assert "bn_momentum" not in without_trick(recipe, "weight_ema", cards.tricks()).model.options
    assert without_trick(recipe, "label_smoothing", cards.tricks()).model.options == recipe.model.options
