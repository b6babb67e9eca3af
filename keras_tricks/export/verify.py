"""Opens every exported form in a separate process with its own reader and compares its outputs with the model's."""

import dataclasses
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

from keras_tricks.export.formats import without_classifier
from keras_tricks.export.stock import needs_package
from keras_tricks.utils.errors import UserError

IMAGES = 4  # of random pixels
TOLERANCE = 1e-3  # of the largest output; float32 on one machine differs by about 1e-6, TF32 and float16 by more
SECONDS = 600  # after which a process counts as failed

# What the process does with `path` and `images`, float32 (n, height, width, 3) in 0-255. It sets `outputs`.
READERS = {
    "keras": "import keras\noutputs = keras.saving.load_model(path, compile=False).predict(images, verbose=0)",
    "saved_model": "import tensorflow as tf\nloaded = tf.saved_model.load(path)\noutputs = loaded.serve(images)",
    "onnx": "import onnxruntime\nsession = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])\n"
            "outputs = session.run(None, {session.get_inputs()[0].name: images})[0]",
    "litert": """
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    import tensorflow as tf
    Interpreter = tf.lite.Interpreter
interpreter = Interpreter(path)
interpreter.allocate_tensors()
outputs = []
for image in images:
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image[None])
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]['index'])[0])
""",
}
READERS |= {"feature_vector": READERS["saved_model"], "litert_int8": READERS["litert"]}
NEEDS = {"keras": (), "onnx": ("onnxruntime",)}  # packages of a reader; TensorFlow for the others


@dataclasses.dataclass(frozen=True)
class Verified:
    """The outcome for one form.

    Attributes:
        form: name of the format.
        difference: largest difference of an output, relative to the largest output; `None` if the form was not opened.
        reason: why it was not opened, or `""`.
    """

    form: str
    difference: float | None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the outputs agree. Forms that were skipped, and 8-bit models, do not disagree."""
        return self.difference is None or self.form == "litert_int8" or self.difference <= TOLERANCE

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.form}: skipped, {self.reason}"
        return f"{self.form}: opened in a separate process, outputs differ by {self.difference:.1e} at most"


def verify(model: keras.Model, written: Mapping[str, pathlib.Path]) -> list[Verified]:
    """Compares exported forms with the model on random images.

    Args:
        model: `keras.Model` that was exported, see `deployable`.
        written: {format: path}, as `export` returns it.

    Returns:
        A list of `Verified`.

    Raises:
        UserError: a form cannot be opened, or its outputs differ.
    """
    images = np.random.default_rng(0).uniform(0, 255, (IMAGES, *model.input_shape[1:])).astype("float32")
    expected, found = {}, []
    for form, path in written.items():
        missing = [name for name in NEEDS.get(form, ("tensorflow",)) if importlib.util.find_spec(name) is None]
        if missing:
            found.append(Verified(form, None, f"{missing[0]} is not installed"))
            continue
        kind = "features" if form == "feature_vector" else "outputs"
        if kind not in expected:
            network = without_classifier(model) if kind == "features" else model
            expected[kind] = keras.ops.convert_to_numpy(network(images, training=False)).astype("float32")
        outputs = _outputs(form, path, images)
        if outputs.shape != expected[kind].shape:
            raise UserError(f"{path} ({form}) returns {outputs.shape}, and the model {expected[kind].shape}.")
        gap = np.max(np.abs(outputs - expected[kind])) / max(np.max(np.abs(expected[kind])), 1e-12)
        found.append(Verified(form, float(gap)))
    for outcome in found:
        if not outcome.ok:
            raise UserError(f"{written[outcome.form]} does not return what the model does: {outcome}.")
    return found


def _outputs(form, path, images):
    """The outputs of an exported form, computed in a new process."""
    with tempfile.TemporaryDirectory() as scratch:
        source, result = os.path.join(scratch, "images.npy"), os.path.join(scratch, "outputs.npy")
        np.save(source, images)
        try:
            package = "import keras_tricks\n" if form == "keras" and needs_package(path) else ""
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} ({form}) cannot be opened: {error}") from None
        code = (f"import sys\nimport numpy\n{package}path = sys.argv[1]\nimages = numpy.load(sys.argv[2])\n"
                f"{READERS[form]}\nnumpy.save(sys.argv[3], numpy.asarray(outputs, 'float32'))\n")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        try:
            done = subprocess.run([sys.executable, "-c", code, str(path), source, result], env=environment,
                                  capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"{path} ({form}) did not answer within {SECONDS} seconds.") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise UserError(f"{path} ({form}) cannot be opened: {reason[:300]}")
        return np.load(result)
