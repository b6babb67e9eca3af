"""`keras-tricks export`: a run and a model with weights, their model card, and errors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tricks import cli, evaluation, models, training
from keras_tricks.cli import export as exporting
from keras_tricks.export import lite
from keras_tricks.recipe import Augment, Data, Model, Recipe, Schedule
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

RECIPE = Recipe(
    name="tiny/digits", data=Data(image_size=16, eval_crop="whole"), augment=Augment(crop="none", flip=False),
    model=Model(name="test_resnet", options={"stem": "cifar"}),
    schedule=Schedule(epochs=1, batch_size=256, base_learning_rate=0.2), export={"formats": ("keras",)},
    train={"deterministic": False, "precision": "mixed_bfloat16"},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    training.train(RECIPE, folder, verbose=0)
    keras.config.set_dtype_policy("float32")
    return folder


def command(*words):
    args = cli.parse(["keras-tricks", "export", *map(str, words)])
    args.run(args)


def test_a_run_in_every_form(run, tmp_path, capsys):
    command(run, "--output", tmp_path, "--fold", "--format", "keras, saved_model, feature_vector, litert, litert_int8")
    assert {p.name for p in tmp_path.iterdir()} == {
        "model.keras", "saved_model", "feature_vector", "model.tflite", "model_int8.tflite", "README.md"}
    assert capsys.readouterr().out.count("\n") == 5
    card = (tmp_path / "README.md").read_text()
    assert "| recipe | tiny/digits" in card and "validation top-1" in card and "folded into the convolutions" in card
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("float32")
    plain = keras.models.load_model(run / "export" / "model.keras", compile=False)
    folded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert len(folded.layers[2].layers) < len(plain.layers[2].layers)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    served = loaded.serve(x)
    np.testing.assert_allclose(served, folded(x), rtol=1e-5)
    np.testing.assert_allclose(folded(x), plain(x), rtol=1e-3, atol=1e-4)


def test_encoded_images_get_the_answers_of_predict(run, tmp_path):
    command(run, "--output", tmp_path, "--format", "saved_model")
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype("uint8")
    keras.utils.save_img(tmp_path / "photo.png", image, scale=False)
    ((_, answers),) = evaluation.predict(run, [str(tmp_path / "photo.png")], top=10)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    content = tf.constant([(tmp_path / "photo.png").read_bytes()])
    served = loaded.signatures["serving_bytes"](images=content)
    assert served["label"].numpy()[0].decode() == answers[0][0]
    labels = json.loads((run / "export" / "classes.json").read_text())
    expected = dict(answers)
    np.testing.assert_allclose(served["probabilities"][0], [expected[label] for label in labels], atol=2e-3)


def test_nothing_is_written_over(run, tmp_path):
    command(run, "--output", tmp_path, "--format", "keras")
    with pytest.raises(UserError, match="holds model.keras already: give --output another folder, or --overwrite"):
        command(run, "--output", tmp_path, "--format", "keras,litert")
    assert not (tmp_path / "model.tflite").exists()
    command(run, "--output", tmp_path, "--format", "keras", "--overwrite")


def test_an_export_that_was_interrupted_is_written_again(run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("keras_tricks.export.model_card.model_card", interrupted)
        with pytest.raises(KeyboardInterrupt):
            command(run, "--output", tmp_path, "--format", "keras")
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", exporting.UNFINISHED}
    command(run, "--output", tmp_path, "--format", "keras")
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "README.md"}
    with pytest.raises(UserError, match="holds model.keras already"):
        command(run, "--output", tmp_path, "--format", "keras")


def test_a_readme_of_the_user_is_not_written_over(run, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="holds README.md already"):
        command(run, "--output", tmp_path, "--format", "keras")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_model_with_weights(tmp_path):
    model = models.create_model("test_resnet_rs", classifier_activation=None)
    safetensors_io.save(tmp_path / "own.safetensors", safetensors_io.weights_of(model))
    command("test_resnet_rs", "--weights", tmp_path / "own.safetensors", "--output", tmp_path / "out",
            "--format", "keras")
    exported = keras.models.load_model(tmp_path / "out" / "model.keras", compile=False)
    x = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    mean, std = (np.float32(getattr(models.model_info("test_resnet_rs"), key)) for key in ("mean", "std"))
    np.testing.assert_allclose(exported(x), keras.ops.softmax(model((x - mean) / std)), rtol=1e-4)


def test_mistakes(run, tmp_path):
    with pytest.raises(UserError, match="give --weights and --output; or name the folder of a run"):
        command("resnet50d")
    with pytest.raises(UserError, match="is not a run folder"):
        command(tmp_path)
    with pytest.raises(UserError, match="`formats` must be one of"):
        command(run, "--output", tmp_path, "--format", "tflite")
    with pytest.raises(UserError, match="`litert_int8` learns its ranges from images: give --images FOLDER"):
        command("resnet50d", "--weights", "w.safetensors", "--output", tmp_path, "--format", "litert_int8")
    with pytest.raises(UserError, match="--fold writes float32. Received: --dtype mixed_bfloat16"):
        command(run, "--output", tmp_path / "a", "--format", "keras", "--fold", "--dtype", "mixed_bfloat16")


def test_the_integer_model_is_compared_with_the_exact_one(run, tmp_path):
    command(run, "--output", tmp_path, "--format", "keras,litert_int8")
    (row,) = [line for line in (tmp_path / "README.md").read_text().splitlines() if "8-bit model: same top-1" in line]
    share = float(row.split("|")[2].split()[0])
    assert "of 100 images" in row and 80 <= share <= 100
    examples = exporting._examples(None, RECIPE)
    exact = keras.models.load_model(tmp_path / "model.keras", compile=False).predict(examples, verbose=0)
    integers = lite.predict(tmp_path / "model_int8.tflite", examples)
    assert share == pytest.approx(100 * np.mean(exact.argmax(-1) == integers.argmax(-1)), abs=0.1)


def test_ranges_from_a_folder_of_images(run, tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(2):
        image = np.random.default_rng(i).integers(0, 256, (20, 24, 3)).astype("uint8")
        keras.utils.save_img(tmp_path / "images" / f"{i}.png", image, scale=False)
    command(run, "--output", tmp_path / "out", "--format", "litert_int8", "--images", tmp_path / "images")
    assert "of 2 images" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no images"):
        command(run, "--output", tmp_path / "b", "--format", "litert_int8", "--images", tmp_path / "empty")


def test_other_precisions(run, tmp_path):
    command(run, "--output", tmp_path, "--format", "keras", "--dtype", "mixed_bfloat16")
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert {layer.compute_dtype for layer in network.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    assert model.output.dtype == "float32"
    assert "| computes in | mixed_bfloat16 |" in (tmp_path / "README.md").read_text()
    plain = keras.models.load_model(run / "export" / "model.keras", compile=False)
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(model(x), plain(x), atol=0.05)
