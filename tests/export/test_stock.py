"""Exported `.keras` files in Keras' own layers: opened by Keras alone, with the same numbers."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_tricks import models
from keras_tricks.export import deployable, export, fold, needs_package, stock
from keras_tricks.recipe import Data
from keras_tricks.weights import load, safetensors_io

pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")

FAMILIES = {  # name: options of a small network, whether the file needs the package unless it is folded
    "test_resnet": ({"drop_path_rate": 0.1, "dropout_rate": 0.1}, False),  # deep stem, pooled shortcuts, drop path
    "test_resnet_rs": ({}, False),  # squeeze-excite
    "test_wide_resnet": ({}, False),  # batch normalization that follows no convolution
    "test_inception_resnet": ({}, False),
    "test_nfnet": ({}, True),  # grouped convolutions, scaled activations, standardized kernels
    "test_nf_resnet": ({}, True),
    "test_skipinit_resnet": ({}, True),
    "test_fixup_resnet": ({}, True),
}


def size(name):
    return 75 if "inception" in name else 32


def pixels(name, count=2):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size(name), size(name), 3)).astype("float32")


def network(name):
    model = models.create_model(name, classes=3, classifier_activation=None, input_shape=(size(name), size(name), 3),
                                **FAMILIES[name][0])
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name in ("gain", "bias", "beta", "moving_mean"):
            variable.assign(keras.ops.convert_to_numpy(variable) + 0.1 * rng.normal(size=variable.shape))
    return model


ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "keras_tricks":
            raise ImportError("keras_tricks is not installed here")

sys.meta_path.insert(0, Blocked())
import keras, numpy as np
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    np.save(path + ".npy", model(np.load(path.rpartition("/")[0] + "/pixels.npy"), training=False))
"""


QUICK = ("test_resnet", "test_nfnet", "test_fixup_resnet")  # every rule of `stock`
OTHERS = tuple(name for name in FAMILIES if name not in QUICK)


@pytest.mark.parametrize("names", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)],
                         ids=["quick", "the other families"])
def test_keras_alone_opens_the_files_and_answers_the_same(names, tmp_path):
    """One process opens all files. Weight standardization, skip gains and scalar biases need `fold`."""
    expected, files = {}, []
    for name in names:
        needs = FAMILIES[name][1]
        model, data = network(name), Data(image_size=size(name), eval_crop="whole")
        whole = deployable(lambda model=model: model, model, data)
        folded = fold(model)
        for kind, deployed in (("whole", whole), ("folded", deployable(lambda f=folded: f, folded, data))):
            folder = tmp_path / f"{name}_{kind}"
            path = export(deployed, folder, ("keras",))["keras"]
            assert needs_package(path) == (needs and kind == "whole"), (name, kind)
            np.save(folder / "pixels.npy", pixels(name))
            expected[path] = keras.ops.convert_to_numpy(whole(pixels(name)))
            files += [] if needs and kind == "whole" else [str(path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", ALONE, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for path in files:
        theirs = np.load(f"{path}.npy")
        ours = next(values for own, values in expected.items() if str(own) == path)
        np.testing.assert_allclose(theirs, ours, atol=1e-5, err_msg=path)
        assert np.ptp(theirs) > 1e-3


@pytest.mark.parametrize("name", ["test_resnet", "test_nfnet"])
def test_an_export_is_still_weights_for_its_network(name, tmp_path):
    model = network(name)
    deployed = deployable(lambda: model, model, Data(image_size=size(name), eval_crop="whole"))
    path = export(deployed, tmp_path, ("keras",))["keras"]
    other = models.create_model(name, classes=3, classifier_activation=None,
                                input_shape=(size(name), size(name), 3), **FAMILIES[name][0])
    load(other, path)
    for ours, theirs in zip(safetensors_io.weights_of(other).values(), safetensors_io.weights_of(model).values(),
                            strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


def test_the_exported_file_can_be_trained_on(tmp_path):
    """Drop path and batch statistics are part of it."""
    model = stock(network("test_resnet"))
    kinds = {type(layer).__name__ for layer in model.layers}
    assert {"BatchNormalization", "Dropout"} <= kinds and not any("keras_tricks" in type(layer).__module__
                                                                  for layer in model.layers)
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.noise_shape]
    assert drops and all(layer.noise_shape == (None, 1, 1, 1) for layer in drops)
    before = [keras.ops.convert_to_numpy(v) for v in model.non_trainable_variables if "moving" in v.name]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pixels("test_resnet", 4) / 255, np.arange(4) % 3, verbose=0)
    after = [keras.ops.convert_to_numpy(v) for v in model.non_trainable_variables if "moving" in v.name]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_the_given_model_is_not_changed_and_precision_stays():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network("test_resnet")
    layers = [layer.name for layer in model.layers]
    made = stock(model)
    assert [layer.name for layer in model.layers] == layers and made.name == model.name
    convolutions = [layer for layer in made.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions and {layer.compute_dtype for layer in convolutions} == {"bfloat16"}


def test_ghost_batch_normalization_becomes_batch_normalization():
    from keras_tricks.layers import GhostBatchNormalization

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, GhostBatchNormalization(2, name="bn")(inputs))
    made = stock(model)
    assert type(made.get_layer("bn")) is keras.layers.BatchNormalization
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(model(x), made(x))


def test_other_models_are_returned_as_they_are():
    sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert stock(sequential) is sequential
