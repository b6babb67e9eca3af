"""Weights by path and by name: a handmade cache of the Hugging Face Hub, timm's files, and errors."""

import json
import pathlib
import struct

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.hub_cache import in_timms_names, put

import keras_tricks as kt
from keras_tricks import evaluation, weights
from keras_tricks.recipe import Recipe
from keras_tricks.utils.errors import UserError

huggingface_hub = pytest.importorskip("huggingface_hub")
constants, errors = (pytest.importorskip(f"huggingface_hub.{name}") for name in ("constants", "errors"))
pytestmark = pytest.mark.filterwarnings("ignore:.*ImageNet stem divides")

CONFIG = {
    "architecture": "resnetrs50", "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 160, 160], "test_input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.91,
        "crop_mode": "center", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 1000,
        "license": "apache-2.0",
    },
}


@pytest.fixture(scope="module")
def original():
    return kt.models.create_model("test_resnet_rs")


@pytest.fixture(scope="module")
def file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(in_timms_names(original), path)
    return path


@pytest.fixture
def cache(file, tmp_path, monkeypatch):
    """A cache in the layout of huggingface_hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return put(tmp_path, "timm/resnetrs50.tf_in1k", file.read_bytes(), CONFIG)


def assert_equal(a, b):
    for x, y in zip(a.variables, b.variables, strict=True):
        if x.name != "seed_generator_state":
            np.testing.assert_array_equal(x.numpy(), y.numpy(), err_msg=x.path)


def test_by_name(cache, original):
    assert_equal(kt.models.create_model("test_resnet_rs", weights="timm/resnetrs50.tf_in1k", classes=10), original)
    assert_equal(kt.models.create_model("test_resnet_rs", weights=f"hf://timm/resnetrs50.tf_in1k@{'a' * 40}"), original)


def test_what_weights_say_of_themselves(cache):
    info = weights.find("timm/resnetrs50.tf_in1k").info
    assert (info.architecture, info.image_size, info.test_image_size) == ("resnetrs50", 160, 224)
    assert info.license == "apache-2.0"
    assert info.origin == "https://huggingface.co/timm/resnetrs50.tf_in1k"
    recipe = evaluation.with_published_preprocessing(Recipe(), "timm/resnetrs50.tf_in1k")
    assert (recipe.data.test_size, recipe.data.eval_crop, recipe.data.crop_pct) == (224, "center", 0.91)
    assert recipe.data.mean == pytest.approx((123.675, 116.28, 103.53)) and recipe.data.interpolation == "bicubic"


def test_squashed_images(file, tmp_path):
    cfg = {**CONFIG["pretrained_cfg"], "crop_mode": "squash", "test_input_size": [3, 256, 256], "crop_pct": 0.9}
    (tmp_path / "model.safetensors").write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "pretrained_cfg": cfg}))
    data = weights.find(tmp_path / "model.safetensors").info.data()
    assert (data["eval_crop"], data["crop_padding"]) == ("squash", round(256 / 0.9) - 256)
    (tmp_path / "config.json").write_text("[]")
    assert weights.find(tmp_path / "model.safetensors").info is None


def test_a_damaged_download(cache):
    blob = next(p for p in (cache / "blobs").iterdir() if len(p.name) == 64)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=f"cached file of timm/resnetrs50.tf_in1k is damaged.*delete .*{blob.name}"):
        weights.find("timm/resnetrs50.tf_in1k")


def test_no_network(cache):
    with pytest.raises(UserError, match="`weights` 'timm/resnet50d.ra2_in1k' are not in the cache, and"):
        kt.models.ResNet50D(weights="timm/resnet50d.ra2_in1k", input_shape=(96, 96, 3))


@pytest.mark.parametrize("error, words", [
    ("RepositoryNotFoundError", "The repository timm/resnet51 does not exist on the Hugging Face Hub"),
    ("RevisionNotFoundError", "timm/resnet51 has no revision 'v9'"),
    ("EntryNotFoundError", "has no model.safetensors; other files are not read"),
])
def test_errors_of_the_hub(monkeypatch, error, words):
    kind = getattr(errors, error)

    def refuse(*args, **kwargs):
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError, match=words):
        weights.find("timm/resnet51@v9")


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install 'keras-tricks.hub.'"):
        weights.find("timm/resnet50d.ra2_in1k")


def test_paths_that_are_not_weights(tmp_path):
    with pytest.raises(UserError, match="is a folder: pass a file in it that ends in .safetensors"):
        weights.find(tmp_path)
    with pytest.raises(UserError, match="The weight file .*none.safetensors does not exist"):
        weights.find(tmp_path / "none.safetensors")
    for name in ("model.pth", "pytorch_model.bin", "model.pkl"):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match="Pickled checkpoints .* can run code when opened"):
            weights.find(tmp_path / name)


def hostile(kind):
    """Invalid headers of safetensors files."""
    header = {"fc.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
              "fc.bias": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}
    text = json.dumps(header).encode()
    return {
        "huge": struct.pack("<Q", 2**62) + b"{}",
        "overlapping": struct.pack("<Q", len(text)) + text + bytes(24),
        "cut": struct.pack("<Q", len(text)) + text[:-20],
        "empty": b"",
        "no json": struct.pack("<Q", 4) + b"\xff\xfe{}",
    }[kind]


@pytest.mark.parametrize("kind", ["huge", "overlapping", "cut", "empty", "no json"])
def test_hostile_headers(kind, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(hostile(kind))
    with pytest.raises(UserError, match="model.safetensors is not a readable safetensors file"):
        kt.models.create_model("test_nfnet", weights=path)


def test_another_number_of_classes(file, original, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        model = kt.models.create_model("test_resnet_rs", weights=file, classes=3)
    assert "its classifier has 10 classes, test_resnet_rs has 3: the classifier keeps its initial" in caplog.text
    assert model.get_layer("head").kernel.shape[1] == 3
    body = [v for v in model.variables if not v.path.startswith("head/") and v.name != "seed_generator_state"]
    theirs = {v.path: v.numpy() for v in original.variables}
    assert all(np.array_equal(v.numpy(), theirs[v.path]) for v in body)


def test_another_number_of_classes_in_our_own_file(original, tmp_path, caplog):
    weights.safetensors_io.save(tmp_path / "own.safetensors", weights.safetensors_io.weights_of(original))
    with caplog.at_level("WARNING", logger="absl"):
        model = kt.models.create_model("test_resnet_rs", weights=tmp_path / "own.safetensors", classes=7)
    assert "has 10 classes, test_resnet_rs has 7" in caplog.text
    with pytest.raises(UserError, match="'head/kernel' has shape"):
        weights.load(model, tmp_path / "own.safetensors")  # evaluation needs the classifier


def test_a_backbone_and_another_size(file, original):
    body = kt.models.create_model("test_resnet_rs", weights=file, include_top=False, input_shape=(96, 96, 3))
    last, expected = (model.get_layer("stage4_block2_conv3").kernel for model in (body, original))
    np.testing.assert_array_equal(last, expected)


@pytest.mark.parametrize("layout", ["timm_dm", "timm"])
def test_the_checkpoint_picks_the_layout(layout, tmp_path):
    model = kt.models.create_model("test_nfnet", layout=layout)
    path = tmp_path / "model.safetensors"
    save_file(in_timms_names(model), path)
    found = kt.models.create_model("test_nfnet", weights=path)
    assert_equal(found, model)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(found(x), model(x), atol=1e-6)


def test_layout_a_is_not_timms(tmp_path):
    b = kt.models.ResNet("bottleneck", (1, 1, 1, 1), "b", filters=(4, 8, 8, 8), stem_filters=8, classes=3,
                         input_shape=(96, 96, 3))
    save_file(in_timms_names(b), tmp_path / "b.safetensors")
    with pytest.raises(UserError, match="has layout B, .*, and resnet has layout A"):
        kt.models.ResNet("bottleneck", (1, 1, 1, 1), "a", filters=(4, 8, 8, 8), stem_filters=8, classes=3,
                         input_shape=(96, 96, 3), weights=tmp_path / "b.safetensors")


def test_keras_does_not_get_a_path_with_a_slash(tmp_path, original, monkeypatch):
    """A relative path such as timm/model.safetensors is a file, not a repository."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("timm").mkdir()
    weights.safetensors_io.save("timm/own.safetensors", weights.safetensors_io.weights_of(original))
    assert_equal(kt.models.create_model("test_resnet_rs", weights="timm/own.safetensors"), original)
    keras.utils.clear_session()


class TestPreprocessing:
    """Precedence: the command line, then the weights, then the model."""

    @pytest.fixture
    def photo(self, tmp_path):
        keras.utils.save_img(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 256, (300, 280, 3)),
                             scale=False)
        return tmp_path / "photo.png"

    def test_predict_with_what_the_weights_say(self, cache, photo, original, caplog):
        import tensorflow as tf

        from keras_tricks.data import evaluation_image

        config = CONFIG | {"num_classes": 10}
        (cache / "snapshots" / ("a" * 40) / "config.json").unlink()
        (cache / "snapshots" / ("a" * 40) / "config.json").write_text(json.dumps(config))
        with caplog.at_level("INFO", logger="absl"):
            ((_, answers),) = evaluation.predict("test_resnet_rs", [photo], 10, "timm/resnetrs50.tf_in1k",
                                                 ["data.crop_pct=0.8"])
        said = caplog.text
        assert "test_image_size 224 (weights)" in said and "crop_pct 0.8 (command line)" in said
        assert "interpolation bicubic (weights)" in said and "crop_padding 32 (model)" in said
        recipe = evaluation.recipe_for_pretrained("test_resnet_rs", "timm/resnetrs50.tf_in1k")
        data = recipe.override(["data.crop_pct=0.8"]).data
        pixels = evaluation_image(tf.constant(photo.read_bytes()), data)
        model = kt.models.create_model("test_resnet_rs", input_shape=(224, 224, 3), weights="timm/resnetrs50.tf_in1k",
                                       classes=10)
        expected = model(((np.asarray(pixels) - data.mean) / data.std)[None].astype("float32"))[0]
        found = {int(label.removeprefix("class ")): share for label, share in answers}
        np.testing.assert_allclose([found[i] for i in range(10)], expected, atol=1e-5)

    def test_mistakes(self, photo):
        with pytest.raises(UserError, match="predict needs weights for resnet50d"):
            list(evaluation.predict("resnet50d", [photo]))
        with pytest.raises(UserError, match="resnet50e is not a run folder, and no model has that name. Did you mean"):
            list(evaluation.predict("resnet50e", [photo]))
