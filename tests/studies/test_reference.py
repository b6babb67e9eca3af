"""Every recipe beside the values of its paper and code: recipes/reference/*.toml."""

import fnmatch
import pathlib

import pytest

from keras_tricks import cli
from keras_tricks.recipe import list_recipes, load_recipe
from keras_tricks.studies import reference

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [name for name in list_recipes() if reference.references(name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_difference_is_declared(name):
    recipe = load_recipe(name)
    found = reference.differences(recipe)
    assert {d.key: (d.value, d.reference.value) for d in found if not d.reason} == {}
    assert sorted(recipe.about.differs) == sorted(d.key for d in found), "declared, and no difference"
    assert recipe.about.follows


def test_tables_cover_the_recipes_of_the_papers():
    families = set(reference.tables())
    assert families == {"bag_of_tricks", "dont_decay", "resnet_rs", "efficientnet_rs", "nfnet"}
    without = {name for name in list_recipes() if name.partition("/")[0] in families} - set(NAMES)
    assert all(any(word in name for word in ("cifar10", "digits", "skipinit", "scaling")) for name in without)
    assert len(NAMES) > 80 and sum(len(reference.references(name)) for name in NAMES) > 2500


@pytest.mark.parametrize("family", sorted(reference.tables()))
def test_every_entry_applies_to_a_recipe_and_has_a_source(family):
    own = [name.partition("/")[2] for name in list_recipes() if name.startswith(f"{family}/")]
    for entry in reference.tables()[family]["values"]:
        assert entry["source"]
        for pattern in entry["recipes"] + entry.get("except", []):
            assert fnmatch.filter(own, pattern), pattern


def test_a_change_that_nobody_declared_is_found():
    recipe = load_recipe("nfnet/f0").override(["schedule.epochs=300", "augment.crop_area=[0.1, 1.0]"])
    assert [d.key for d in reference.differences(recipe)] == ["augment.crop_area", "schedule.epochs"]
    assert reference.differences(load_recipe("nfnet/f0")) == []


def test_recipes_that_follow_nothing_have_no_table():
    assert reference.references("quickstart") == {} == reference.references("nfnet/cifar10_nf_resnet_64")
    assert reference.differences(load_recipe("quickstart")) == []


def test_a_network_of_the_user_differs_in_its_options():
    recipe = load_recipe("nfnet/f0").replace(model={"name": "mypackage.nets:build", "options": {}})
    assert [d.key for d in reference.differences(recipe)] == ["model.options.drop_path_rate",
                                                              "model.options.dropout_rate"]


def test_an_unknown_key_is_not_overlooked():
    with pytest.raises(KeyError):
        reference.value_of(load_recipe("nfnet/f0"), "model.options.droput_rate")


def test_plan_shows_what_a_recipe_follows_and_where_it_differs():
    from keras_tricks.cli.plan import _reference

    lines = list(_reference(load_recipe("resnet_rs/rs50_160")))
    assert lines[0].startswith("follows     paper, sections 4") and lines[1].startswith("expected    78.8 % top-1")
    assert lines[2].startswith("differs     optimizer.no_bias_decay True (the code") and len(lines) == 3
    changed = load_recipe("resnet_rs/rs50_160").override(["schedule.epochs=10"])
    assert "not expected here, because of schedule.epochs" in list(_reference(changed))[1]
    assert cli.build_parser()


def test_the_table_of_the_documentation_is_what_the_recipes_declare():
    assert reference.table_of_differences() in (ROOT / "docs" / "differences.md").read_text()
