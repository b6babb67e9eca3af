"""Each form is exported alone by the command line, in a new process, and opened where this package is missing."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from support.photos import made_run, recipe

from keras_tricks import evaluation, export
from keras_tricks.export.formats import without_classifier
from keras_tricks.export.verify import READERS

ROOT = pathlib.Path(__file__).parents[2]
EXTRAS = {"onnx": ("tf2onnx", "onnx", "onnxruntime")}
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "keras_tricks":
            raise ImportError("keras_tricks is not installed here")

sys.meta_path.insert(0, Blocked())
import numpy
path, images = sys.argv[1], numpy.load(sys.argv[2])
"""
WEIGHTS = """
from safetensors.numpy import load_file
import json, pathlib
tensors = load_file(path)
config = json.loads((pathlib.Path(path).parent / "config.json").read_text())
outputs = [[len(tensors), config["num_classes"]]]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("runs") / "run", recipe(data={"source": "digits"}), tuple("0123456789"))[0]


def run_program(*words, folder):
    return subprocess.run([sys.executable, "-m", "keras_tricks", *map(str, words)], cwd=folder, capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def outputs_without_the_package(reader, path, images, folder):
    np.save(folder / "images.npy", images)
    code = f"{BLOCKED}{reader}\nnumpy.save(sys.argv[3], numpy.asarray(outputs, 'float32'))\n"
    done = subprocess.run([sys.executable, "-I", "-c", code, path, folder / "images.npy", folder / "outputs.npy"],
                          cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"})
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(folder / "outputs.npy")


@pytest.mark.slow
@pytest.mark.parametrize("form", export.FORMS)
def test_a_form(form, run, tmp_path):
    for package in EXTRAS.get(form, ()):
        pytest.importorskip(package)
    done = run_program("export", run, "--format", form, "--output", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {export.FORMS[form], "README.md"}
    model = evaluation._of_run(run, None, ())[0]
    images = np.random.default_rng(0).uniform(0, 255, (3, *model.input_shape[1:])).astype("float32")
    found = outputs_without_the_package(READERS[form], tmp_path / "out" / export.FORMS[form], images, tmp_path)
    wanted = model if form != "feature_vector" else without_classifier(model)
    tolerance = 0.1 if form == "litert_int8" else 1e-4
    np.testing.assert_allclose(found, np.asarray(wanted(images, training=False)), atol=tolerance)


@pytest.mark.slow
def test_a_folder_of_the_hub(run, tmp_path):
    words = ["export", run, "--format", "keras", "--layout", "huggingface", "--license", "mit"]
    done = run_program(*words, "--output", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    path = tmp_path / "out" / "model.safetensors"
    (count, classes), = outputs_without_the_package(WEIGHTS, path, np.zeros(1), tmp_path)
    assert count > 10 and classes == 10
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_classes"] == 10


@pytest.mark.slow
def test_weights_of_a_run_are_plain_safetensors(run, tmp_path):
    from safetensors.numpy import load_file

    path = next((run / "checkpoints").glob("best.safetensors"))
    reader = "from safetensors.numpy import load_file\noutputs = [sum(float(abs(t).sum()) for t in " \
             "load_file(path).values() if t.dtype == 'float32')]"
    found = outputs_without_the_package(reader, path, np.zeros(1), tmp_path)
    expected = sum(float(abs(t).sum()) for t in load_file(path).values() if t.dtype == np.float32)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
