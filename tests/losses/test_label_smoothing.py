"""Label smoothing against torch, on integer, one-hot and mixed labels."""

import json
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks.losses import LabelSmoothingCrossentropy, smooth_labels
from keras_tricks.utils.errors import UserError

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch_losses.json").read_text())
LOGITS, LABELS = np.array(GOLDEN["student"], "float32"), np.array(GOLDEN["labels"])
ONE_HOT = np.eye(7, dtype="float32")[LABELS]
LABEL_FORMS = {"integer": LABELS, "column": LABELS[:, None], "float": LABELS.astype("float32"), "one_hot": ONE_HOT}
CONVENTIONS = {"uniform": "eps/K", "others": "eps/(K-1)"}


def loss(smoothing="others", label_smoothing=0.1, from_logits=True, reduction=None):
    return LabelSmoothingCrossentropy(label_smoothing, smoothing, from_logits, reduction)


@pytest.mark.parametrize("smoothing", CONVENTIONS)
@pytest.mark.parametrize("labels", LABEL_FORMS.values(), ids=LABEL_FORMS)
def test_equals_torch(smoothing, labels):
    golden = GOLDEN["label_smoothing"][CONVENTIONS[smoothing]]
    np.testing.assert_allclose(loss(smoothing)(labels, LOGITS), golden["per_sample"], rtol=1e-5)
    mean = loss(smoothing, reduction="sum_over_batch_size")(labels, LOGITS)
    assert float(mean) == pytest.approx(golden["mean"], rel=1e-5)


@pytest.mark.parametrize("smoothing", CONVENTIONS)
def test_probabilities_give_the_same_as_logits(smoothing):
    probabilities = keras.ops.softmax(LOGITS)
    np.testing.assert_allclose(
        loss(smoothing, from_logits=False)(LABELS, probabilities), loss(smoothing)(LABELS, LOGITS), rtol=1e-4
    )


@pytest.mark.parametrize("smoothing", CONVENTIONS)
def test_mixed_labels_give_the_mixed_loss(smoothing):
    other, share = np.roll(ONE_HOT, 1, axis=0), 0.3
    mixed = loss(smoothing)(share * ONE_HOT + (1 - share) * other, LOGITS)
    apart = share * loss(smoothing)(ONE_HOT, LOGITS) + (1 - share) * loss(smoothing)(other, LOGITS)
    np.testing.assert_allclose(mixed, apart, rtol=1e-5)


def test_targets():
    np.testing.assert_allclose(smooth_labels(np.eye(5)[[2]], 0.1), [[0.025, 0.025, 0.9, 0.025, 0.025]])
    np.testing.assert_allclose(smooth_labels(np.eye(5)[[2]], 0.1, "uniform"), [[0.02, 0.02, 0.92, 0.02, 0.02]])


def test_no_smoothing_is_cross_entropy():
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS)
    smoothed = loss(label_smoothing=0.0, reduction="sum_over_batch_size")(LABELS, LOGITS)
    assert float(smoothed) == pytest.approx(float(plain), rel=1e-6)


def test_float16_logits_are_computed_in_float32():
    half = LOGITS.astype("float16")
    np.testing.assert_allclose(loss()(LABELS, half), loss()(LABELS, half.astype("float32")), rtol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`label_smoothing` must be in \[0, 1\).*1.5"):
        LabelSmoothingCrossentropy(1.5)
    with pytest.raises(UserError, match='Did you mean "uniform"'):
        LabelSmoothingCrossentropy(smoothing="unifrom")
