"""Distillation against torch, and the variables that `fit` changes."""

import json
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks.losses import Distiller, distillation_loss

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch_losses.json").read_text())
STUDENT, TEACHER = (np.array(GOLDEN[k], "float32") for k in ("student", "teacher"))
LABELS, VALUES = np.array(GOLDEN["labels"]), GOLDEN["distillation"]


def constant(logits):
    """A model whose logits for the images `np.eye(6)` are the rows of `logits`."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, use_bias=False)])
    model.set_weights([logits])
    return model


def compiled(rate=0.1, **kwargs):
    distiller = Distiller(constant(STUDENT), constant(TEACHER), **kwargs)
    distiller.compile(keras.optimizers.SGD(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"])
    return distiller


def test_soft_term_equals_torch():
    np.testing.assert_allclose(distillation_loss(STUDENT, TEACHER), VALUES["soft"]["per_sample"], rtol=1e-5)
    half = distillation_loss(STUDENT.astype("float16"), TEACHER.astype("float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"


@pytest.mark.parametrize("weights, golden", [({}, "paper"), ({"hard_weight": 0.5, "soft_weight": 0.5}, "gluon_cv")])
def test_loss_of_fit_equals_torch(weights, golden):
    history = compiled(**weights).fit(np.eye(6), LABELS, batch_size=6, verbose=0)
    assert history.history["loss"] == pytest.approx([VALUES[golden]["mean"]], rel=1e-5)


def test_evaluation_is_the_hard_loss_of_the_student():
    result = compiled().evaluate(np.eye(6), LABELS, batch_size=6, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(VALUES["hard"]["mean"], rel=1e-5)
    assert result["accuracy"] == pytest.approx((STUDENT.argmax(axis=1) == LABELS).mean())
    np.testing.assert_allclose(compiled().predict(np.eye(6), verbose=0), STUDENT, rtol=1e-6)


def test_one_step_equals_the_gradient_of_the_formula():
    """d/dz = softmax(z) - p + T * (softmax(z / T) - softmax(r / T)), a mean over six images."""
    distiller = compiled(rate=1.0, temperature=4.0)
    distiller.fit(np.eye(6), LABELS, batch_size=6, verbose=0)
    z, r = STUDENT.astype("float64"), TEACHER.astype("float64")
    gradient = softmax(z) - np.eye(7)[LABELS] + 4.0 * (softmax(z / 4.0) - softmax(r / 4.0))
    np.testing.assert_allclose(distiller.student.get_weights()[0], z - gradient / 6, rtol=1e-4, atol=1e-5)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_teacher_stays_as_it_is():
    teacher = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.9),
                                keras.layers.Dense(7)])
    before = teacher.get_weights()
    distiller = Distiller(constant(STUDENT), teacher)
    distiller.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.fit(np.eye(6), LABELS, epochs=2, verbose=0)
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert [v.path for v in distiller.trainable_variables] == [v.path for v in distiller.student.trainable_variables]
    assert not np.allclose(distiller.student.get_weights()[0], STUDENT)


def test_keras_file_round_trip(tmp_path):
    distiller = compiled(temperature=4.0, hard_weight=0.3, soft_weight=0.7)
    distiller.fit(np.eye(6), LABELS, verbose=0)
    distiller.save(tmp_path / "d.keras")
    again = keras.models.load_model(tmp_path / "d.keras")
    assert (again.temperature, again.hard_weight, again.soft_weight) == (4.0, 0.3, 0.7)
    np.testing.assert_array_equal(again.teacher.get_weights()[0], TEACHER)
    losses = [d.fit(np.eye(6), LABELS, batch_size=6, verbose=0).history["loss"] for d in (distiller, again)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
