"""Exports of a run on JAX or torch: every form opens and equals the model, and the export of a TensorFlow process."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
runtime = pytest.importorskip("onnxruntime")

from support.paths import ROOT  # noqa: E402
from support.tiny_runs import leave_tensorflow_as_it_was, tiny  # noqa: E402, F401

import keras_tricks as kt  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="JAX or torch")]
FORMATS = ("keras", "saved_model", "feature_vector", "onnx", "litert")


def outputs(folder, pixels):
    """{form: probabilities} of the files of an export."""
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    assert {"serving_default", "serving_bytes"} <= set(loaded.signatures)
    session = runtime.InferenceSession(folder / "model.onnx")
    interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    model = keras.models.load_model(folder / "model.keras", compile=False)
    return {
        "keras": keras.ops.convert_to_numpy(model(pixels)),
        "saved_model": loaded.signatures["serving_default"](pixels=tf.constant(pixels))["probabilities"].numpy(),
        "onnx": session.run(None, {session.get_inputs()[0].name: pixels})[0],
        "litert": interpreter.get_tensor(interpreter.get_output_details()[0]["index"]),
    }


def on_tensorflow(*words):
    done = subprocess.run([sys.executable, "-m", "keras_tricks", *map(str, words)], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_every_form_equals_the_model_and_an_export_of_tensorflow(tmp_path):
    recipe = tiny(export={"formats": FORMATS}, schedule={"epochs": 1}, data={"train_images": 256},
                  train={"strategy": "one"})
    run = kt.train(recipe, tmp_path / "run", verbose=0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(run.model(pixels))
    here = outputs(run.folder / "export", pixels)
    for form, values in here.items():
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=form)
    vectors = tf.saved_model.load(str(run.folder / "export" / "feature_vector"))
    assert np.isfinite(vectors(tf.constant(pixels))).all()

    again = tmp_path / "again"  # the same run, exported by a process on TensorFlow alone
    shutil.copytree(run.folder, again)
    on_tensorflow("export", again, "--format", ",".join(FORMATS), "--overwrite")
    for form, values in outputs(again / "export", pixels).items():
        np.testing.assert_allclose(values, here[form], atol=1e-5, err_msg=form)


def test_a_run_of_tensorflow_goes_on_here(tmp_path, caplog):
    """Weights, optimizer, average and position carry over; the log says what does not."""
    recipe = tiny(schedule={"epochs": 2}, optimizer={"ema_decay": 0.9}, export={"formats": ()},
                  data={"train_images": 256}, train={"strategy": "one"})
    (tmp_path / "recipe.json").write_text(recipe.replace(schedule={"epochs": 1}).to_json())
    on_tensorflow("train", tmp_path / "recipe.json", "--output", tmp_path / "run")
    before, _ = kt.weights.safetensors_io.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    with caplog.at_level("INFO", "absl"):
        kt.train(recipe, tmp_path / "run", resume=True, changes="new", verbose=0)
    assert f"was trained on tensorflow until now and continues on {keras.backend.backend()}" in caplog.text
    assert "resuming after epoch 1 of 2" in caplog.text
    after, _ = kt.weights.safetensors_io.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert after.keys() == before.keys()
    counts = [name for name in after if name.endswith("iteration")]
    assert counts and all(int(after[name]) == 2 * int(before[name]) for name in counts)
