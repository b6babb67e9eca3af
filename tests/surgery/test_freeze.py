"""Parts that stay as they are: by name, with what is inside them, and all norms."""

import keras
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError


def small():
    return kt.models.create_model("test_resnet", input_shape=(96, 96, 3))


def test_a_part_is_a_layer_or_what_begins_with_its_name():
    model = small()
    kt.surgery.freeze(model, ["stem", "stage1"])
    frozen = {v.path.partition("/")[0].partition("_")[0] for v in model.variables} - {
        v.path.partition("/")[0].partition("_")[0] for v in model.trainable_variables}
    assert frozen == {"stem", "stage1"}


def test_stage1_is_not_stage10():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(2, name="stage1_a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="stage10_a")(x))
    kt.surgery.freeze(model, ["stage1"])
    assert [v.path for v in model.trainable_variables] == ["stage10_a/kernel", "stage10_a/bias"]


def test_norms_wherever_they_are():
    model = small()
    norms = {v.path for v in model.trainable_variables if v.name in ("gamma", "beta")}
    kt.surgery.freeze(model, [], norms=True)
    assert any(path.startswith("stem/bn") for path in norms), "one of them is inside a layer"
    assert not norms & {v.path for v in model.trainable_variables}


def test_mistakes():
    with pytest.raises(UserError, match="test_resnet has no part 'steem'. Did you mean \"stem\""):
        kt.surgery.freeze(small(), ["steem"])
    with pytest.raises(UserError, match="leaves nothing to train"):
        kt.surgery.freeze(small(), ["stem", "stage1", "stage2", "head"])
