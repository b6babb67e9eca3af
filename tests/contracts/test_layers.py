"""Contracts of every layer, initializer and schedule: arguments, shapes, dtypes, gradients, saving and loading."""

import inspect
import json

import keras
import numpy as np
import pytest
from cases import INITIALIZERS, LAYERS, SCHEDULES, names

CONFIGURED = [(cls, kwargs) for cls, kwargs, *_ in [*LAYERS, *INITIALIZERS, *SCHEDULES]]
layers = pytest.mark.parametrize("cls, kwargs, shape", LAYERS, ids=names(LAYERS))


def inputs(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def trained(layer, x):
    """The output of the layer in training mode, if it has one."""
    return layer(x, training=True) if "training" in inspect.signature(layer.call).parameters else layer(x)


@pytest.mark.parametrize("cls, kwargs", CONFIGURED, ids=names(CONFIGURED))
def test_config_holds_every_argument_and_gives_the_object_back(cls, kwargs):
    thing = cls(**kwargs)
    config = thing.get_config()
    named = [p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert set(named) <= set(config)
    for name in kwargs.keys() - {"decay"}:
        assert config[name] == kwargs[name], name
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    assert saved["registered_name"].startswith("keras_tricks>")
    assert keras.saving.deserialize_keras_object(saved).get_config() == config
    assert cls.from_config(config).get_config() == config, "from_config must not empty the config it is given"


@layers
def test_symbolic_and_real_shapes_agree(cls, kwargs, shape):
    layer = cls(**kwargs)
    symbolic = layer(keras.Input(shape[1:]))
    y = trained(layer, inputs(shape))
    assert tuple(symbolic.shape) == (None, *y.shape[1:])
    assert tuple(layer.compute_output_shape(shape)) == tuple(y.shape)
    assert keras.backend.standardize_dtype(y.dtype) == symbolic.dtype == "float32"


@layers
def test_mixed_precision(cls, kwargs, shape):
    layer = cls(**kwargs, dtype="mixed_bfloat16")
    y = layer(inputs(shape))
    expected = "float32" if cls.__name__ == "Normalize" else "bfloat16"  # pixels need more than eight bits
    assert keras.backend.standardize_dtype(y.dtype) == expected
    assert {w.dtype for w in layer.trainable_weights} <= {"float32"}


@layers
def test_every_weight_and_the_input_get_a_gradient(cls, kwargs, shape):
    tf = pytest.importorskip("tensorflow")
    layer = cls(**kwargs)
    layer.build(shape)
    x = tf.constant(inputs(shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = trained(layer, x)
        loss = tf.reduce_sum(tf.square(y) * tf.constant(inputs(y.shape)))
    gradients = tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)])
    assert all(g is not None and np.isfinite(g).all() and np.any(g) for g in gradients)


@layers
def test_numbers_survive_a_file(cls, kwargs, shape, tmp_path):
    start = keras.Input(shape[1:])
    model = keras.Model(start, cls(**kwargs)(start))
    model.set_weights([w + 0.25 if w.dtype == "float32" else w for w in model.get_weights()])
    model.save(tmp_path / "layer.keras")
    again = keras.models.load_model(tmp_path / "layer.keras")
    np.testing.assert_array_equal(again(inputs(shape)), model(inputs(shape)))
    assert isinstance(again.layers[-1], cls)


@pytest.mark.parametrize("cls, kwargs", SCHEDULES, ids=names(SCHEDULES))
def test_schedules_are_the_same_after_a_config(cls, kwargs):
    schedule = cls(**kwargs)
    again = cls.from_config(json.loads(json.dumps(schedule.get_config())))
    rates = [[float(s(step)) for step in (0, 3, 24, 30, 44)] for s in (schedule, again)]
    assert rates[0] == rates[1] and all(np.isfinite(rates[0]))
