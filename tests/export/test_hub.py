"""TF Hub accepts our SavedModels: `hub.load`, and `hub.KerasLayer(trainable=True)` in tf_keras."""

import functools
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.export import deployable, export

for package in ("tensorflow_hub", "tf_keras"):
    pytest.importorskip(package)

SCRIPT = """
import sys
import numpy as np
import tensorflow_hub as hub
import tf_keras

tf_keras.utils.set_random_seed(0)
folder = sys.argv[1]
x, expected = (np.load(folder + "/data.npz")[key] for key in ("x", "expected"))
loaded = hub.load(folder + "/saved_model")
assert np.abs(loaded(x) - expected).max() <= 1e-6
layer = hub.KerasLayer(folder + "/feature_vector", trainable=True)
model = tf_keras.Sequential([tf_keras.Input((32, 32, 3)), layer, tf_keras.layers.Dense(3, "softmax")])
statistics = [v.numpy() for v in layer.non_trainable_weights]
model.compile(tf_keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
losses = model.fit(x, np.arange(len(x)) % 3, epochs=30, batch_size=len(x), verbose=0).history["loss"]
assert losses[-1] < 0.8 * losses[0], losses
assert not any(np.array_equal(a, v.numpy()) for a, v in zip(statistics, layer.non_trainable_weights))
"""


@pytest.mark.slow
def test_hub_loads_and_trains(tmp_path):
    build = functools.partial(kt.models.create_model, "test_resnet", classes=3, input_shape=(32, 32, 3), stem="cifar",
                              classifier_activation=None)
    data = types.SimpleNamespace(test_size=32, mean=(120.0,) * 3, std=(60.0,) * 3)
    model = deployable(build, build(), data)
    export(model, tmp_path, ("saved_model", "feature_vector"))
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, expected=model(x))
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True,
                          env=os.environ | {"TF_USE_LEGACY_KERAS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
