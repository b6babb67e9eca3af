"""Contracts of every loss: arguments, one number per image, float32, and a gradient."""

import inspect

import keras
import numpy as np
import pytest
from cases import LOSSES, names

losses = pytest.mark.parametrize("cls, kwargs", LOSSES, ids=names(LOSSES))
LABELS = np.array([0, 2, 1, 2])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


@losses
def test_config_round_trip(cls, kwargs):
    loss = cls(**kwargs)
    config = loss.get_config()
    named = [p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert set(named) <= set(config) and all(config[name] == kwargs[name] for name in kwargs)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == config
    assert float(again(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))


@losses
def test_reductions_and_sample_weights(cls, kwargs):
    each = np.asarray(cls(**kwargs, reduction=None)(LABELS, LOGITS))
    assert each.shape == (4,)
    assert float(cls(**kwargs)(LABELS, LOGITS)) == pytest.approx(each.mean(), rel=1e-6)
    assert float(cls(**kwargs, reduction="sum")(LABELS, LOGITS)) == pytest.approx(each.sum(), rel=1e-6)
    weights = np.array([1.0, 0.0, 2.0, 0.0], "float32")
    assert float(cls(**kwargs)(LABELS, LOGITS, weights)) == pytest.approx((each * weights).mean(), rel=1e-6)


@losses
def test_gradient_and_dtype(cls, kwargs):
    tf = pytest.importorskip("tensorflow")
    logits = tf.constant(LOGITS, "float16")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cls(**kwargs)(LABELS, logits)
    assert loss.dtype == "float32"
    gradient = tape.gradient(loss, logits)
    assert np.isfinite(gradient).all() and np.any(gradient)


@losses
def test_compiled_model_survives_a_file(cls, kwargs, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", cls(**kwargs))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert isinstance(again.loss, cls)
    first, second = (m.evaluate(LOGITS, LABELS, verbose=0) for m in (model, again))
    assert first == pytest.approx(second, rel=1e-6)
