"""Class weights against Keras' sample weights, scikit-learn's "balanced", and what a run does with them."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight
from support.tiny_runs import NO_EXPORT, leave_tensorflow_as_it_was, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.analysis import BalancedAccuracy
from keras_tricks.cli.plan import describe
from keras_tricks.losses import ClassWeightedCrossentropy, LabelSmoothingCrossentropy, balanced_class_weights
from keras_tricks.recipe import Recipe
from keras_tricks.utils.errors import UserError

rng = np.random.default_rng(0)
LOGITS, LABELS = rng.normal(size=(6, 3)).astype("float32"), np.array([0, 1, 2, 2, 0, 1])
WEIGHTS = np.array([0.5, 1.0, 4.0], "float32")


def each(labels, **arguments):
    return np.asarray(ClassWeightedCrossentropy(WEIGHTS, from_logits=True, reduction=None, **arguments)(labels, LOGITS))


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [50, 5, 20])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_class_weights(np.bincount(labels)), expected)
    assert balanced_class_weights([4, 0, 4]) == [1.0, 1.0, 1.0]  # a class without images


def test_hard_labels_are_weighted_as_by_keras():
    expected = keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")(LABELS, LOGITS, WEIGHTS[LABELS])
    assert each(LABELS).sum() == pytest.approx(float(expected), rel=1e-6)
    probabilities = keras.ops.softmax(LOGITS)
    loss = ClassWeightedCrossentropy(WEIGHTS, reduction=None)
    np.testing.assert_allclose(loss(LABELS, probabilities), each(LABELS), rtol=1e-5)


def test_a_mixed_image_has_the_mixed_losses_of_its_labels():
    one_hot = np.eye(3, dtype="float32")[LABELS]
    mixed = 0.3 * one_hot + 0.7 * one_hot[::-1]
    np.testing.assert_allclose(each(mixed), 0.3 * each(one_hot) + 0.7 * each(one_hot[::-1]), rtol=1e-5)


def test_smoothing_comes_first():
    logs, one_hot = np.asarray(keras.ops.log_softmax(LOGITS)), np.eye(3)[LABELS]
    targets = 0.8 * one_hot + 0.2 * (1 - one_hot) / 2
    np.testing.assert_allclose(each(LABELS, label_smoothing=0.2), -(targets * WEIGHTS * logs).sum(-1), rtol=1e-5)


def test_the_gradient_is_that_of_the_formula():
    tf = pytest.importorskip("tensorflow")
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ClassWeightedCrossentropy(WEIGHTS, from_logits=True, reduction="sum")(LABELS, logits)
    targets = WEIGHTS * np.eye(3)[LABELS]
    expected = np.asarray(keras.ops.softmax(LOGITS)) * targets.sum(-1, keepdims=True) - targets
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-6)


def test_weights_of_one_are_no_weights():
    plain = LabelSmoothingCrossentropy(0.1, from_logits=True)(LABELS, LOGITS)
    ones = ClassWeightedCrossentropy([1] * 3, 0.1, from_logits=True)(LABELS, LOGITS)
    assert float(ones) == pytest.approx(float(plain))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [], [float("nan")]])
def test_weights_are_checked(weights):
    with pytest.raises(ValueError, match="`class_weight` must be finite numbers >= 0"):
        ClassWeightedCrossentropy(weights)
    with pytest.raises(ValueError, match="has 2 weights for 3 classes"):
        ClassWeightedCrossentropy([1.0, 2.0])(LABELS, LOGITS)


def test_balanced_accuracy_is_the_mean_over_classes():
    metric = BalancedAccuracy(3)
    labels = np.eye(3, dtype="float32")[[0, 0, 0, 0, 1]]
    metric.update_state(labels, np.eye(3)[[0, 0, 0, 1, 2]], np.ones(5))
    assert float(metric.result()) == pytest.approx((0.75 + 0.0) / 2)


def test_a_run_is_weighted_and_reports_the_balanced_accuracy(tmp_path):
    pytest.importorskip("tensorflow")  # reads the data
    recipe = tiny(loss={"class_weight": {"3": 2.0, "8": 0.5}}, schedule={"epochs": 1}, export=NO_EXPORT)
    ready = training.prepare(recipe)
    assert ready.trainer.loss.class_weight == [1, 1, 1, 2, 1, 1, 1, 1, 0.5, 1]
    assert "class weights 0.5 to 2" in describe(ready)
    run = kt.train(recipe, tmp_path / "run", verbose=0)
    assert 0 <= run.history["val_balanced_accuracy"][0] <= 1
    found = kt.evaluate(recipe, tmp_path / "run")  # both without the weights
    assert found["loss"] == pytest.approx(run.history["val_loss"][0], rel=1e-5)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_balanced_weights_of_a_run_are_of_its_training_images():
    pytest.importorskip("tensorflow")  # reads the data
    weights = training.prepare(tiny(loss={"class_weight": "balanced"})).trainer.loss.class_weight
    assert np.mean(weights) == pytest.approx(1.0, abs=0.01) and len(set(weights)) > 1
    assert type(training.prepare(tiny()).trainer.loss) is LabelSmoothingCrossentropy


def test_mistakes_are_one_line():
    pytest.importorskip("tensorflow")  # reads the data
    with pytest.raises(UserError, match="`loss.class_weight` has the class '12', and digits has no such class"):
        training.prepare(tiny(loss={"class_weight": {"12": 2.0}}))
    for wrong in ("balance", {"3": -1.0}, {"3": "x"}, 3):
        with pytest.raises(UserError, match='`loss.class_weight`: expected "none", "balanced" or {"class name"'):
            tiny(loss={"class_weight": wrong})
    assert tiny().override(['loss.class_weight={"3": 2}']).loss.class_weight == {"3": 2.0}
