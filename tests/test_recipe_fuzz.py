"""Malformed recipes, overrides and JSON: each a `UserError` in one line, or a recipe; never anything else."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.utils.errors import UserError

MANY = settings(max_examples=500, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)
VALID = json.loads(load_recipe("quickstart").to_json())
KEYS = [(section, key) for section, values in VALID.items() if isinstance(values, dict) for key in values]


def outcome(make):
    """Whether a recipe came of it. Anything but a `UserError` of one line is raised."""
    try:
        assert isinstance(make(), Recipe)
    except UserError as error:
        text = str(error)
        assert text.strip() and "Traceback" not in text and len(text) < 2000
        return False
    return True


@MANY
@given(JSON)
def test_any_json(value):
    outcome(lambda: Recipe.from_json(json.dumps(value)))


@MANY
@given(st.sampled_from(KEYS), JSON)
def test_a_wrong_value_anywhere(place, value):
    section, key = place
    outcome(lambda: Recipe.from_json(json.dumps({**VALID, section: {**VALID[section], key: value}})))


@MANY
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=3), st.booleans())
def test_damaged_text(position, noise, cut):
    text = json.dumps(VALID)
    position %= len(text)
    damaged = text[:position] + noise.decode("latin1") + ("" if cut else text[position + len(noise):])
    outcome(lambda: Recipe.from_json(damaged))


@MANY
@given(st.sampled_from([".".join(place) for place in KEYS]) | st.text(max_size=20), st.text(max_size=12) | JSON,
       st.sampled_from(["=", "", "==", ".", ":"]))
def test_overrides(path, value, sign):
    text = value if isinstance(value, str) else json.dumps(value)
    outcome(lambda: load_recipe("quickstart").override([f"{path}{sign}{text}"]))


def test_the_fuzzing_reaches_both_outcomes():
    assert outcome(lambda: Recipe.from_json(json.dumps(VALID)))
    assert not outcome(lambda: Recipe.from_json("[]"))
