"""Binary cross entropy against timm, on integer, one-hot and mixed labels, and in a recipe."""

import json
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks.losses import BinaryCrossentropy
from keras_tricks.recipe import Recipe
from keras_tricks.run.build import build_loss
from keras_tricks.utils.errors import UserError

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_bce.json").read_text())
LOGITS, LABELS = np.array(GOLDEN["logits"], "float32"), np.array(GOLDEN["labels"])
ONE_HOT = np.eye(7, dtype="float32")[LABELS]
MIXED = GOLDEN["share"] * ONE_HOT + (1 - GOLDEN["share"]) * ONE_HOT[::-1]  # timm's mixup: with the reversed batch
SETTINGS = ("label_smoothing", "target_threshold", "sum_classes")


def loss_of(case, **options):
    return BinaryCrossentropy(**{key: case[key] for key in SETTINGS}, **{"from_logits": True, **options})


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: "-".join(str(c[k]) for k in (*SETTINGS, "mixed")))
def test_equals_timm(case):
    forms = [MIXED] if case["mixed"] else [LABELS, LABELS[:, None], ONE_HOT]
    for labels in forms:
        assert float(loss_of(case)(labels, LOGITS)) == pytest.approx(case["mean"], rel=1e-5)


def test_probabilities_give_the_same_as_logits():
    case = {"label_smoothing": 0.1, "target_threshold": None, "sum_classes": False}
    probabilities = keras.ops.sigmoid(LOGITS)
    np.testing.assert_allclose(loss_of(case, from_logits=False)(MIXED, probabilities), loss_of(case)(MIXED, LOGITS),
                               rtol=1e-4)


def test_a_threshold_makes_both_mixed_classes_one():
    """Of 0.7 and 0.3, both are above 0.2."""
    case = {"label_smoothing": 0.0, "target_threshold": 0.2, "sum_classes": True}
    both = np.maximum(ONE_HOT, ONE_HOT[::-1])
    np.testing.assert_allclose(loss_of(case)(MIXED, LOGITS), loss_of(case)(both, LOGITS), rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"target_threshold": 1.0}, {"target_threshold": -0.1}, {"label_smoothing": 1.0}],
                         ids=str)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        BinaryCrossentropy(**wrong)


def test_a_recipe_sets_it():
    changes = ["loss.name=binary_crossentropy", "loss.target_threshold=0.2", "loss.label_smoothing=0.1"]
    loss = build_loss(Recipe().override([*changes, "loss.smoothing=uniform"]))
    assert isinstance(loss, BinaryCrossentropy) and loss.from_logits
    assert (loss.target_threshold, loss.label_smoothing, loss.smoothing) == (0.2, 0.1, "uniform")
    with pytest.raises(UserError, match="target_threshold.*binary_crossentropy"):
        build_loss(Recipe().override(["loss.target_threshold=0.2"]))
