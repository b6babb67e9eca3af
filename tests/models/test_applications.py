"""The two `keras.applications` models of the zoo."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io


@pytest.mark.parametrize(
    "name, trainable, statistics, macs",
    [("mobilenet", 4_231_976, 21_888, 0.57e9), ("inception_v3", 23_817_352, 34_432, 5.7e9)],
)
def test_counts(name, trainable, statistics, macs):
    """Parameters of Keras 3.15.1; multiply-adds as printed in the models' papers (569 million, 5.7 billion)."""
    model = kt.models.create_model(name)
    spent = kt.analysis.cost(model)
    assert (spent.parameters, spent.non_trainable) == (trainable, statistics)
    assert spent.macs == pytest.approx(macs, rel=0.02)
    assert model.input_shape[1:] == kt.models.model_info(name).input_size


def test_mobilenet_options():
    model = kt.models.create_model("mobilenet", classes=3, input_shape=(32, 32, 3), classifier_activation=None,
                                   dropout_rate=0.25)
    assert model.name == "mobilenet" and model.output_shape == (None, 3)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25]
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    assert not np.allclose(np.asarray(model(x)).sum(axis=1), 1.0)
    assert kt.models.MobileNet(include_top=False, input_shape=(32, 32, 3)).output_shape == (None, 1, 1, 1024)


def test_output_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = kt.models.create_model("mobilenet", classes=3, input_shape=(32, 32, 3))
    assert keras.backend.standardize_dtype(model(np.zeros((1, 32, 32, 3))).dtype) == "float32"


@pytest.mark.slow
def test_weight_files_fit_whatever_was_built_before(tmp_path):
    """Keras numbers the unnamed layers of its Inception over the whole process."""
    options = dict(include_top=False, input_shape=(75, 75, 3))
    first = kt.models.create_model("inception_v3", **options)
    first.trainable_variables[0].assign_add(first.trainable_variables[0])
    safetensors_io.save(tmp_path / "w.safetensors", safetensors_io.by_path(first.variables))
    again = kt.models.create_model("inception_v3", **options, weights=str(tmp_path / "w.safetensors"))
    x = np.random.default_rng(0).normal(size=(1, 75, 75, 3)).astype("float32")
    np.testing.assert_array_equal(again(x), first(x))
    keras.utils.clear_session(free_memory=False)
    keras_own = keras.applications.InceptionV3(weights=None, **options)
    assert [v.path for v in again.variables] == [v.path for v in keras_own.variables]
    keras_own.set_weights(first.get_weights())
    np.testing.assert_allclose(keras_own(x), first(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, arguments, words", [
    ("inception_v3", {"dropout_rate": 1.5, "input_shape": (75, 75, 3)}, "InceptionV3 .* Received: rate=1.5"),
    ("inception_v3", {"input_shape": (32, 32, 3)}, "InceptionV3 .* at least 75x75.*32, 32, 3"),
    ("mobilenet", {"pooling": "averge", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'"),
    ("mobilenet", {"dropout_rate": 1.5}, "MobileNet .* Received: rate=1.5"),
    ("mobilenet", {"classifier_activation": "sftmax"}, "MobileNet .*sftmax"),
])
def test_options_that_keras_rejects_or_ignores_are_user_errors(name, arguments, words):
    with pytest.raises(UserError, match=words):
        kt.models.create_model(name, **arguments)


def test_inception_has_dropout_before_its_classifier():
    options = dict(input_shape=(75, 75, 3), classes=2)
    plain = kt.models.create_model("inception_v3", dropout_rate=None, **options)
    model = kt.models.create_model("inception_v3", dropout_rate=0.5, **options)
    weights = {v.path: v for v in model.variables if "seed" not in v.path}
    assert list(weights) == [v.path for v in plain.variables]
    layer, head = model.get_layer("dropout"), model.get_layer("predictions")
    assert layer.rate == 0.5 and layer.input is model.get_layer("avg_pool").output and model.output is not head.input
    assert "dropout" not in [found.name for found in plain.layers]
    x = np.random.default_rng(0).normal(size=(1, 75, 75, 3)).astype("float32")
    for variable in plain.variables:
        weights[variable.path].assign(variable)
    np.testing.assert_array_equal(model(x), plain(x))
