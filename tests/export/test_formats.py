"""The exported model: pixels in, probabilities out, float32, the same numbers in a new process."""

import functools
import os
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_tricks as kt
from keras_tricks.data import evaluation_image
from keras_tricks.export import deployable, export, formats, without_classifier
from keras_tricks.recipe import Data
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import find

DATA = types.SimpleNamespace(test_size=16, mean=(123.68, 116.779, 103.939), std=(58.393, 57.12, 57.375))
build = functools.partial(kt.models.ResNet, "basic", (1, 1), input_shape=(16, 16, 3), classes=3, stem="cifar",
                          filters=(4, 8), stem_filters=4, classifier_activation=None, drop_path_rate=0.2, name="tiny")


def pixels(count=3):
    return np.random.default_rng(0).integers(0, 256, size=(count, 16, 16, 3)).astype("float32")


def normalized(x):
    return ((x - np.float32(DATA.mean)) / np.float32(DATA.std)).astype("float32")


@pytest.fixture(scope="module")
def trained():
    """A network trained in mixed precision, with statistics that differ from the initial ones."""
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


# --- the SavedModel ---------------------------------------------------------------------------------------------------

NAMES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def saved(deployed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    data = Data(image_size=16, eval_crop="whole")
    export(deployed, folder, ("saved_model",), NAMES, functools.partial(evaluation_image, data=data))
    return folder / "saved_model"


def test_signatures_and_labels(saved, deployed):
    loaded = tf.saved_model.load(str(saved))
    expected = np.asarray(deployed(pixels()))
    answer = loaded.signatures["serving_default"](pixels=tf.constant(pixels()))
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)
    assert [label.decode() for label in answer["label"].numpy()] == [NAMES[i] for i in expected.argmax(axis=1)]
    assert tf.io.gfile.GFile(loaded.labels.asset_path.numpy()).read().split() == list(NAMES)


def test_encoded_images_are_prepared_inside(saved, deployed):
    images = np.random.default_rng(3).integers(0, 256, (2, 20, 30, 3)).astype("uint8")
    encoded = [tf.io.encode_jpeg(images[0], quality=95), tf.io.encode_png(images[1])]
    answer = tf.saved_model.load(str(saved)).signatures["serving_bytes"](images=tf.stack(encoded))
    prepared = [evaluation_image(e, Data(image_size=16, eval_crop="whole")) for e in encoded]
    np.testing.assert_allclose(answer["probabilities"], deployed(tf.stack(prepared)), rtol=1e-5)


def test_it_trains_on_as_tf_hubs_models_do(saved):
    loaded = tf.saved_model.load(str(saved))
    assert loaded.regularization_losses == [] or len(loaded.regularization_losses) == 0
    assert 0 < len(loaded.trainable_variables) < len(loaded.variables)
    x, y = pixels(8), np.arange(8) % 3
    before = [v.numpy() for v in loaded.variables]
    losses = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            picked = tf.gather(loaded(x, training=True), y, batch_dims=1)
            losses.append(-tf.reduce_mean(tf.math.log(picked)))
        for v, gradient in zip(loaded.trainable_variables, tape.gradient(losses[-1], loaded.trainable_variables),
                               strict=True):
            v.assign_sub(0.05 * gradient)
    assert losses[-1] < 0.8 * losses[0]
    trained = {v.ref() for v in loaded.trainable_variables}
    moved = [not np.array_equal(old, v.numpy()) for old, v in zip(before, loaded.variables, strict=True)
             if v.ref() not in trained and v.dtype.is_floating]
    assert moved and all(moved), "batch statistics move"


def test_keras_opens_it_as_a_layer(saved, deployed):
    layer = keras.layers.TFSMLayer(str(saved), call_endpoint="serving_default")
    np.testing.assert_allclose(layer(pixels())["probabilities"], deployed(pixels()), rtol=1e-6)


# --- other forms ------------------------------------------------------------------------------------------------------


def interpreted(path, images):
    """Outputs of a `.tflite` file, image by image."""
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(made["index"])[0])
    return np.stack(answers)


def test_litert(deployed, tmp_path):
    x = pixels(16)
    written = export(deployed, tmp_path, ("litert", "litert_int8"), examples=x)
    expected = np.asarray(deployed(x))
    np.testing.assert_allclose(interpreted(written["litert"], x), expected, atol=1e-5)
    assert np.abs(interpreted(written["litert_int8"], x) - expected).max() < 0.1
    kinds = [{t["dtype"] for t in tf.lite.Interpreter(str(path)).get_tensor_details()} for path in written.values()]
    assert np.int8 not in kinds[0] and np.int8 in kinds[1]


def test_onnx(deployed, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(export(deployed, tmp_path, ("onnx",))["onnx"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: pixels()})
    np.testing.assert_allclose(answer, deployed(pixels()), atol=1e-4)


def test_feature_vectors(trained, deployed, tmp_path):
    vectors = without_classifier(deployed)
    assert vectors.output_shape == (None, 8) and not [v for v in vectors.variables if v.path.startswith("head")]
    head = trained.get_layer("head")
    logits = np.asarray(vectors(pixels())) @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(keras.ops.softmax(logits), deployed(pixels()), rtol=1e-5)
    path = export(deployed, tmp_path, ("feature_vector",))["feature_vector"]
    loaded = tf.saved_model.load(str(path))
    np.testing.assert_allclose(loaded.serve(pixels()), vectors(pixels()), rtol=1e-5)
    with pytest.raises(UserError, match="has no classifier to remove"):
        without_classifier(vectors)


def test_mistakes(deployed, tmp_path):
    with pytest.raises(UserError, match="`formats` must be one of .* Received: 'savedmodel'. Did you mean"):
        export(deployed, tmp_path / "new", ("savedmodel",))
    with pytest.raises(UserError, match="`litert_int8` needs `examples`"):
        export(deployed, tmp_path / "new", ("litert_int8",))
    assert not (tmp_path / "new").exists()


def test_the_keras_file_names_its_classes_wherever_it_is(deployed, tmp_path):
    export(deployed, tmp_path, ("keras",), class_names=("a, b", "c", "d"))
    moved = (tmp_path / "model.keras").rename(tmp_path / "moved.keras")
    assert find(moved).class_names == ("a, b", "c", "d")
    again = keras.models.load_model(moved, compile=False)
    np.testing.assert_array_equal(again(pixels()), keras.models.load_model(moved)(pixels()))
    export(deployed, tmp_path, ("keras",))
    assert find(tmp_path / "model.keras").class_names == ()
    (tmp_path / "model.keras").write_bytes(b"damaged")
    assert find(tmp_path / "model.keras").class_names == ()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """A process that is killed while it replaces a folder must not leave half of the old one under its name."""
    def folder(name, text):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_text(text)
        return tmp_path / name

    final, partial, replace = folder("saved_model", "old"), folder("partial_saved_model", "new"), os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: None if a == partial else replace(a, b))
        formats._replace(partial, final)  # as far as a process came that was killed before the second step
    assert not final.exists()
    old = folder("partial_old_saved_model", "old")
    formats._replace(partial, final)
    assert (final / "saved_model.pb").read_text() == "new" and not partial.exists() and not old.exists()


def test_a_crash_leaves_the_old_form_and_nothing_half_written(deployed, tmp_path, monkeypatch):
    export(deployed, tmp_path, ("saved_model",))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))

    def crash(model, path, *_):
        path.mkdir()
        (path / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_tricks.export.saved_model.write", crash)
    with pytest.raises(KeyboardInterrupt):
        export(deployed, tmp_path, ("saved_model",))
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
