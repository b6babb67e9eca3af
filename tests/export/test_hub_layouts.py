"""Folders for Hugging Face and Kaggle: their files, and loading the weights of a pushed folder."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_tricks as kt
from keras_tricks import cli, evaluation
from keras_tricks.export import hub_layouts
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import find, safetensors_io

SIZE = 48


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A network with random weights and statistics, and its file."""
    keras.utils.set_random_seed(0)
    model = kt.models.create_model("test_resnet_rs", classifier_activation=None)
    path = tmp_path_factory.mktemp("weights") / "flowers.safetensors"
    safetensors_io.save(path, safetensors_io.weights_of(model))
    return model, path


def export(path, *words):
    args = cli.parse(["keras-tricks", "export", "test_resnet_rs", "--weights", str(path), *map(str, words)])
    args.run(args)


def test_a_hugging_face_folder_is_a_source_of_weights(original, tmp_path, capsys):
    model, path = original
    export(path, "--output", tmp_path, "--format", "keras", "--layout", "huggingface", "--license", "apache-2.0")
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "model.safetensors", "config.json", "README.md"}
    header = (tmp_path / "README.md").read_text().split("---\n")[1]
    assert "license: apache-2.0\n" in header and "library_name: keras\n" in header
    again = kt.models.create_model("test_resnet_rs", classifier_activation=None, weights=tmp_path / "model.safetensors")
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    info = find(tmp_path / "model.safetensors").info
    expected = evaluation.recipe_for_pretrained("test_resnet_rs", path).data
    assert (info.architecture, info.license, info.num_classes) == ("test_resnet_rs", "apache-2.0", 10)
    there = expected.model_copy(update=info.data())
    for key in ("test_size", "eval_crop", "crop_pct", "interpolation"):
        assert getattr(there, key) == getattr(expected, key), key
    np.testing.assert_allclose([there.mean, there.std], [expected.mean, expected.std], rtol=1e-6)
    with pytest.raises(UserError, match="holds model.safetensors, config.json already"):
        export(path, "--output", tmp_path, "--format", "onnx", "--layout", "huggingface")


def test_names_of_classes_come_back(original, tmp_path):
    export(original[1], "--output", tmp_path, "--format", "keras", "--layout", "huggingface")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"label_names": [f"flower {i}" for i in range(10)]}))
    keras.utils.save_img(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (60, 50, 3)), scale=False)
    ((_, answers),) = evaluation.predict("test_resnet_rs", [tmp_path / "a.png"], 3, tmp_path / "model.safetensors")
    assert all(label.startswith("flower ") for label, _ in answers)


PLACES = {"keras": "keras/flowers", "saved_model": "tensorFlow2/flowers",
          "feature_vector": "tensorFlow2/flowers-feature-vector", "litert": "tfLite/flowers"}


@pytest.mark.parametrize("forms", [("keras", "saved_model"), pytest.param(tuple(PLACES), marks=pytest.mark.slow)],
                         ids=["two", "all"])
def test_a_kaggle_folder(forms, original, tmp_path, capsys):
    export(original[1], "--output", tmp_path, "--format", ",".join(forms), "--layout", "kaggle", "--license",
           "apache-2.0", "--owner", "gardener")
    described = json.loads((tmp_path / "model-metadata.json").read_text())
    assert (described["ownerSlug"], described["slug"], described["isPrivate"]) == ("gardener", "test-resnet-rs", True)
    places = {p.parent.relative_to(tmp_path).as_posix(): json.loads(p.read_text())
              for p in tmp_path.rglob("model-instance-metadata.json")}
    assert sorted(places) == sorted(PLACES[form] for form in forms)
    for place, instance in places.items():
        assert f"{instance['framework']}/{instance['instanceSlug']}" == place
        assert (instance["modelSlug"], instance["licenseName"]) == ("test-resnet-rs", "Apache 2.0")
    x = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    size = kt.models.model_info("test_resnet_rs").test_input_size[0]
    x = np.asarray(tf.image.resize(x, (size, size)))
    loaded = tf.saved_model.load(str(tmp_path / "tensorFlow2" / "flowers"))
    plain = keras.models.load_model(tmp_path / "keras" / "flowers" / "model.keras", compile=False)
    np.testing.assert_allclose(loaded.serve(x), plain(x), atol=1e-6)
    assert not (tmp_path / "model.keras").exists()


def test_slugs():
    assert hub_layouts._slug("NF_ResNet50 (ra2)") == "nf-resnet50-ra2"
