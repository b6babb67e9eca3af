"""The card of an export says what its recipe follows and where it differs."""

import types

import pytest

from keras_tricks.export import model_card
from keras_tricks.recipe import load_recipe


@pytest.mark.parametrize("name, lines", [
    ("resnet_rs/rs50_160", ["| follows | paper, sections 4 and 6; tensorflow/tpu, models/official/resnet |",
                            "| differs | `optimizer.no_bias_decay`: the code excludes only normalization"]),
    ("nfnet/f0", ["| follows | paper, section 4 and appendix A; deepmind-research, nfnets |"]),
    ("quickstart", []),
])
def test_what_a_recipe_follows_is_on_its_card(monkeypatch, name, lines):
    monkeypatch.setattr(model_card, "find", lambda weights: types.SimpleNamespace(info=None))
    recipe = load_recipe(name)
    exported = types.SimpleNamespace(name="x", data=recipe.data, recipe=recipe, run_weights=None, summary=[],
                                     weights="weights.safetensors")
    text = model_card.model_card(exported, {})
    assert all(line in text for line in lines)
    assert text.count("| differs |") == len(recipe.about.differs) and text.count("| follows |") == bool(lines)
