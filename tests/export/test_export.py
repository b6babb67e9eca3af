"""The exported model: pixels in, probabilities out, float32, the same numbers in a fresh process."""

import functools
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.export import deployable, export

DATA = types.SimpleNamespace(test_size=16, mean=(123.68, 116.779, 103.939), std=(58.393, 57.12, 57.375))
build = functools.partial(kt.models.ResNet, "basic", (1, 1), input_shape=(16, 16, 3), classes=3, stem="cifar",
                          filters=(4, 8), stem_filters=4, classifier_activation=None, drop_path_rate=0.2, name="tiny")


def pixels(count=3):
    return np.random.default_rng(0).integers(0, 256, size=(count, 16, 16, 3)).astype("float32")


def normalized(x):
    return ((x - np.float32(DATA.mean)) / np.float32(DATA.std)).astype("float32")


@pytest.fixture(scope="module")
def trained():
    """A network trained in mixed precision, with statistics that are not those of initialization."""
    keras.config.set_dtype_policy("mixed_float16")
    network = build()
    keras.config.set_dtype_policy("float32")
    network.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(normalized(pixels(8)), np.arange(8) % 3, epochs=2, verbose=0)
    return network


@pytest.fixture(scope="module")
def deployed(trained):
    return deployable(build, trained, DATA)


def test_is_the_softmax_of_the_network_on_normalized_images(trained, deployed):
    network = build()
    network.set_weights(trained.get_weights())
    logits = np.asarray(network(normalized(pixels())), "float64")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(deployed(pixels()), expected, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(deployed(pixels())).sum(axis=1), 1.0, rtol=1e-6)
    assert np.ptp(expected) > 0.01
    assert deployed.name == "tiny_deploy" and deployed.input_shape == (None, 16, 16, 3)


def test_is_float32_whatever_it_was_trained_in(trained, deployed):
    assert trained.get_layer("stage1_block1_conv1").compute_dtype == "float16"

    def dtypes(layers):
        for layer in layers:
            yield layer.compute_dtype
            yield from dtypes(getattr(layer, "layers", []))

    assert set(dtypes(deployed.layers)) == {"float32"}


def test_the_policy_of_the_process_is_left_alone(trained):
    keras.config.set_dtype_policy("mixed_float16")
    deployable(build, trained, DATA)
    assert keras.config.dtype_policy().name == "mixed_float16"


def test_training_on_does_not_change_the_deployed_model(trained, deployed):
    before = np.asarray(deployed(pixels()))
    head = trained.get_layer("head").kernel
    old = head.numpy()
    head.assign(old + 1.0)
    np.testing.assert_array_equal(deployed(pixels()), before)
    head.assign(old)


FRESH = """
import sys
import numpy as np
import tensorflow as tf
folder = sys.argv[1]
x = np.load(folder + "/pixels.npy")
loaded = tf.saved_model.load(folder + "/saved_model")
served = loaded.serve(x)
assert "keras_tricks" not in sys.modules
import keras
import keras_tricks
np.savez(folder + "/fresh.npz", served=served, keras=keras.models.load_model(folder + "/model.keras")(x))
"""


def test_a_fresh_process_gives_the_same_numbers(deployed, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "leftover").touch()  # an older export is replaced
    written = export(deployed, tmp_path)
    assert written == {"keras": tmp_path / "model.keras", "saved_model": tmp_path / "saved_model"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.keras", "saved_model"]
    assert not (tmp_path / "saved_model" / "leftover").exists()
    np.save(tmp_path / "pixels.npy", pixels())
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path)], check=True)
    fresh, expected = np.load(tmp_path / "fresh.npz"), np.asarray(deployed(pixels()))
    np.testing.assert_allclose(fresh["served"], expected, rtol=1e-4)
    np.testing.assert_allclose(fresh["keras"], expected, rtol=1e-5)


def test_only_the_formats_asked_for(deployed, tmp_path):
    assert list(export(deployed, tmp_path / "new", ("keras",))) == ["keras"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["model.keras"]
