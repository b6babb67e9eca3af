"""Malformed recipes, overrides and JSON: each gives a `UserError` of one line or a recipe, and nothing else."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_tricks import training
from keras_tricks.recipe import Recipe, load_recipe
from keras_tricks.utils.errors import UserError

MANY = settings( deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)
VALID = json.loads(load_recipe("quickstart").to_json())
KEYS = [(section, key) for section, values in VALID.items() if isinstance(values, dict) for key in values]


def fuzz(*strategies):
    """Runs a check on 100 drawn cases by default, on 500 with `-m slow`."""

    def parametrized(check):
        @pytest.mark.parametrize("cases", [100, pytest.param(500, marks=pytest.mark.slow)])
        def test(cases):
            settings(MANY, max_examples=cases)(given(*strategies)(check))()

        return test

    return parametrized


def outcome(make):
    """Whether the call gives a recipe. Raises any error that is not a `UserError` of one line."""
    try:
        assert isinstance(make(), Recipe)
    except UserError as error:
        text = str(error)
        assert text.strip() and "Traceback" not in text and len(text) < 2000
        return False
    return True


@fuzz(JSON)
def test_any_json(value):
    outcome(lambda: Recipe.from_json(json.dumps(value)))


@fuzz(st.sampled_from(KEYS), JSON)
def test_a_wrong_value_anywhere(place, value):
    section, key = place
    outcome(lambda: Recipe.from_json(json.dumps({**VALID, section: {**VALID[section], key: value}})))


@fuzz(st.integers(0, 4000), st.binary(min_size=1, max_size=3), st.booleans())
def test_damaged_text(position, noise, cut):
    text = json.dumps(VALID)
    position %= len(text)
    damaged = text[:position] + noise.decode("latin1") + ("" if cut else text[position + len(noise):])
    outcome(lambda: Recipe.from_json(damaged))


@fuzz(st.sampled_from([".".join(place) for place in KEYS]) | st.text(max_size=20), st.text(max_size=12) | JSON,
      st.sampled_from(["=", "", "==", ".", ":"]))
def test_overrides(path, value, sign):
    text = value if isinstance(value, str) else json.dumps(value)
    outcome(lambda: load_recipe("quickstart").override([f"{path}{sign}{text}"]))


def test_the_fuzzing_reaches_both_outcomes():
    assert outcome(lambda: Recipe.from_json(json.dumps(VALID)))
    assert not outcome(lambda: Recipe.from_json("[]"))


NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "1e11", "-1", "0", "4294967296", "9" * 5000, "1e-320", "2147483648"]
DEEP = ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900]


@pytest.mark.parametrize("text", [*NUMBERS, *DEEP], ids=lambda text: text[:12])
def test_numbers_out_of_range_and_deep_values_anywhere(text):
    recipe = load_recipe("quickstart")
    for section, key in KEYS:
        outcome(lambda: recipe.override([f"{section}.{key}={text}"]))  # noqa: B023
        outcome(lambda: Recipe.from_json(f'{{"{section}": {{"{key}": {text}}}}}'))  # noqa: B023
    outcome(lambda: recipe.override([f"seed={text}"]))


@pytest.mark.parametrize("key", ["schedule.base_learning_rate", "optimizer.weight_decay", "train.stall_minutes"])
def test_a_rate_that_is_no_number_is_refused(key):
    for text in ("NaN", "Infinity", "-Infinity"):
        assert not outcome(lambda: load_recipe("quickstart").override([f"{key}={text}"]))  # noqa: B023


@pytest.mark.parametrize("setting", ["seed=-1", "seed=4294967296", "data.std=[0,0,0]", "data.std=[1,1,-1]",
                                     "schedule.epochs=1e11", "train.logical_devices=1000", "data.workers=1e6",
                                     "augment.rand_augment_layers=1e9", "model.options.x=NaN", "data.data_dir=a\0b",
                                     "data.image_size=1e6", "train.keep_checkpoints=1e9"])
def test_a_value_that_would_fail_later_is_refused(setting):
    assert not outcome(lambda: load_recipe("quickstart").override([setting]))


@pytest.mark.parametrize("content, accepted", [
    (json.dumps(VALID).encode("utf-16"), True), (b"\xef\xbb\xbf" + json.dumps(VALID).encode(), True),
    (json.dumps(VALID).encode("utf-32"), True), (json.dumps(VALID).encode("utf-16")[:-3], False), (b"", False),
    (b" \n", False), (b"\xff\xfe", False), ('{"name": "\u00e4"}'.encode("latin1"), False), (bytes(range(256)), False),
    (b"\0" * 100, False), (b'{"self": 1}', False), (b'{"name": "\\ud800", "model": {"name": "\\ud800"}}', False),
])
def test_files_of_every_kind(content, accepted, tmp_path):
    (tmp_path / "recipe.json").write_bytes(content)
    assert outcome(lambda: load_recipe(tmp_path / "recipe.json")) == accepted


@pytest.mark.parametrize("text", ['{"seed": 1, "seed": 2}', '{"schedule": {"epochs": 1, "epochs": 2}}'])
def test_a_key_that_is_there_twice_is_refused(text):
    """JSON readers take the last value in silence."""
    with pytest.raises(UserError, match="the key '(seed|epochs)' is there twice"):
        Recipe.from_json(text)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"import sys; sys.exit(0)", b"raise SystemExit", b"RECIPE = 1",
                                     b"1/0", b"(" * 1000, "RECIPE = None".encode("utf-16"), b"def f(): f()\nf()",
                                     b"from keras_tricks.recipe import Recipe\nRECIPE = Recipe(seed=10**6000)"])
def test_recipe_files_that_define_none(content, tmp_path):
    """A file that calls `sys.exit(0)` would end the command with exit code 0."""
    (tmp_path / "recipe.py").write_bytes(content)
    assert not outcome(lambda: load_recipe(tmp_path / "recipe.py"))


@fuzz(st.sampled_from([place for place in KEYS if place[0] in ("schedule", "optimizer", "train")]),
      st.integers(-3, 3000) | st.floats(0, 10) | st.sampled_from(["hybrid", "increase_batch", "step", "constant"])
      | st.lists(st.floats(-5, 50), max_size=4))
def test_what_a_recipe_accepts_can_be_planned(place, value):
    section, key = place
    recipes = []
    if outcome(lambda: recipes.append(Recipe.from_json(json.dumps({**VALID, section: {**VALID[section], key: value}})))
               or recipes[-1]):
        try:
            assert training.plan_of_recipe(recipes[0], 1198, 1).epochs == recipes[0].schedule.epochs
        except UserError as error:
            assert "Traceback" not in str(error)
