"""`export --verify`: forms opened by their own readers in other processes, and forms that are wrong."""

import keras
import pytest
from support.photos import made_run, recipe

from keras_tricks import cli, export
from keras_tricks.export.verify import Verified
from keras_tricks.utils.errors import UserError

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes most forms")


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs / 255))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def test_a_form_that_is_wrong_is_named(model, tmp_path):
    written = export.export(model, tmp_path, ("keras",))
    other = keras.models.clone_model(model)
    with pytest.raises(UserError, match="model.keras does not return what the model does: keras: .* differ by"):
        export.verify(other, written)
    (tmp_path / "model.keras").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"model.keras \(keras\) cannot be opened: "):
        export.verify(model, written)


def test_a_reader_that_is_missing_is_said_to_be_skipped(model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome, = export.verify(model, {"onnx": tmp_path / "model.onnx"})
    assert outcome == Verified("onnx", None, "onnxruntime is not installed") and outcome.ok
    assert str(outcome) == "onnx: skipped, onnxruntime is not installed"


def test_an_8_bit_model_may_differ():
    assert Verified("litert_int8", 0.1).ok and not Verified("litert", 0.1).ok


@pytest.mark.slow
def test_all_six_forms(tmp_path, monkeypatch):
    folder, _ = made_run(tmp_path / "run", recipe(data={"source": "digits"}), tuple("0123456789"))
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    verify, outcomes = export.verify, []
    monkeypatch.setattr(export, "verify", lambda *args: outcomes.extend(verify(*args)) or outcomes)
    args = cli.parse(["keras-tricks", "export", str(folder), "--format", ",".join(export.FORMS), "--verify"])
    args.run(args)
    assert [outcome.form for outcome in outcomes] == list(export.FORMS)
    assert all(outcome.difference < 1e-4 for outcome in outcomes if outcome.form != "litert_int8")
