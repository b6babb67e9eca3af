import keras
import numpy as np
import pytest

from keras_tricks import analysis, losses


def test_the_gap_of_logits():
    gaps = analysis.logit_gap([[3.0, 1.0, 2.0], [0.0, 0.0, 6.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(gaps, [1.5, 6.0, 0.0])


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3, 4)])
def test_wrong_shapes(shape):
    with pytest.raises(ValueError, match="two classes|2 classes"):
        analysis.logit_gap(np.zeros(shape))


@pytest.mark.parametrize("classes, smoothing, gap", [(1000, 0.1, 9.10398), (10, 0.1, 4.39445), (2, 0.5, 0.0)])
def test_the_optimum_is_where_the_smoothed_loss_is_least(classes, smoothing, gap):
    assert analysis.optimal_logit_gap(classes, smoothing) == pytest.approx(gap, abs=1e-5)
    loss = losses.LabelSmoothingCrossentropy(smoothing, "others", from_logits=True)
    labels = np.eye(classes, dtype="float32")[:1]

    def at(distance):
        logits = np.zeros((1, classes), "float32")
        logits[0, 0] = distance
        return float(keras.ops.convert_to_numpy(loss(labels, logits)))

    assert at(gap) < min(at(gap - 0.3), at(gap + 0.3))


def test_without_smoothing_the_gap_has_no_bound():
    assert analysis.optimal_logit_gap(1000, 0.0) == float("inf")
