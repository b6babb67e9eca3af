"""Calibration beside scikit-learn's, intervals beside statsmodels'."""

import json

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from support.paths import GOLDEN

from keras_tricks import analysis


@pytest.fixture(scope="module")
def answers():
    """(logits, labels) of a network that is too confident."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 2000)
    logits = rng.normal(size=(2000, 5)) * 3
    logits[np.arange(2000), labels] += 4
    return logits.astype("float32"), labels


def by_hand(confidences, correct, bins):
    """ECE from scikit-learn's bins."""
    accuracy, confidence = calibration_curve(correct, confidences, n_bins=bins, strategy="uniform")
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidences)
    images = np.bincount(place, minlength=bins)
    images = images[images > 0]
    return np.sum(images * np.abs(accuracy - confidence)) / images.sum(), accuracy, confidence


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_error_is_that_of_scikit_learns_bins(answers, bins):
    probabilities = analysis.softmax(answers[0])
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == answers[1]
    found = analysis.reliability(confidences, correct, bins)
    error, accuracy, confidence = by_hand(confidences, correct, bins)
    assert found.error == pytest.approx(error, abs=1e-9) and found.error > 0.02
    used = found.images > 0
    np.testing.assert_allclose(found.accuracy[used], accuracy, atol=1e-9)
    np.testing.assert_allclose(found.confidence[used], confidence, atol=1e-9)
    assert found.images.sum() == len(correct) and len(found.edges) == bins + 1


def test_a_bin_without_images_does_not_count():
    found = analysis.reliability([0.95, 0.85, 1.0], [True, False, True], 10)
    assert found.images.tolist() == [0] * 8 + [1, 2] and np.isnan(found.accuracy[0])
    assert found.error == pytest.approx((0.85 + 2 * abs(1 - 0.975)) / 3)
    assert analysis.reliability([], [], 10).error == 0.0


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_the_temperature_is_scikit_learns(answers, scale):
    logits, labels = answers[0].astype("float64") * scale, answers[1]
    identity = LogisticRegression()
    identity.classes_, identity.coef_, identity.intercept_ = np.arange(5), np.eye(5), np.zeros(5)
    identity.n_features_in_ = 5
    theirs = CalibratedClassifierCV(FrozenEstimator(identity), method="temperature").fit(logits, labels)
    found = analysis.fit_temperature(logits, labels)
    np.testing.assert_allclose(analysis.softmax(logits, found), theirs.predict_proba(logits), atol=1e-6)
    before = analysis.reliability(analysis.softmax(logits).max(axis=1), logits.argmax(axis=1) == labels)
    after = analysis.reliability(analysis.softmax(logits, found).max(axis=1), logits.argmax(axis=1) == labels)
    assert after.error < before.error


def test_the_likelihood_is_scikit_learns(answers):
    logits, labels = answers
    for temperature in (0.5, 1.0, 2.0):
        theirs = log_loss(labels, analysis.softmax(logits, temperature))
        assert analysis.negative_log_likelihood(logits, labels, temperature) == pytest.approx(theirs, abs=1e-9)


def test_answers_that_are_all_right_have_a_low_temperature():
    assert 0.01 <= analysis.fit_temperature(np.eye(3) * 4, [0, 1, 2]) < 0.2


def test_huge_logits_stay_finite():
    logits = np.array([[1e4, 0, 0], [0, 1e4, 0]])
    assert np.isfinite(analysis.negative_log_likelihood(logits, [0, 2])) and np.isfinite(analysis.softmax(logits)).all()


@pytest.mark.parametrize("row", json.loads((GOLDEN / "statsmodels_wilson.json").read_text()),
                         ids=lambda row: f"{row['correct']} of {row['images']}")
def test_the_interval_is_that_of_statsmodels(row):
    assert analysis.wilson_interval(row["correct"], row["images"]) == pytest.approx(row["interval"], abs=1e-6)
