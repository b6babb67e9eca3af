"""Pretrained weights in one word: the table, the best of a model, a cache on disk, and no network."""

import json
import pathlib

import keras
import numpy as np
import pytest
from safetensors.numpy import save
from support.hub_cache import in_timms_names, put

import keras_tricks as kt
from keras_tricks import cli
from keras_tricks.recipe import Model, Recipe
from keras_tricks.run.resolve import with_pretrained
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import pretrained
from keras_tricks.weights.timm_names import zoo_name

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
CONFIG = {"architecture": "resnet18d", "num_classes": 1000, "pretrained_cfg": {
    "input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 0.95, "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225], "license": "apache-2.0"}}


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def original():
    return kt.models.create_model("resnet18d")


def test_every_checkpoint_is_of_a_model_with_as_many_parameters():
    known = kt.models.list_models()
    for found in pretrained.checkpoints():
        assert found.model in known, found
        paper = {"nfnet_f0": 71.49, "resnet18": 11.69, "resnet_rs50": 35.69, "efficientnet_rs_b0": 5.29}
        assert found.parameters == paper.get(found.model, found.parameters)
    assert len(pretrained.checkpoints()) > 100 and len({c.name for c in pretrained.checkpoints()}) > 100


@pytest.mark.parametrize("name", ["resnet18", *(pytest.param(name, marks=pytest.mark.slow)
                                                for name in ("resnet34d", "efficientnet_rs_b0", "nf_resnet50"))])
def test_sizes_are_those_of_the_models(name):
    millions = kt.models.model_info(name).parameters / 1e6
    assert pretrained.checkpoints(name)[0].parameters == pytest.approx(millions, abs=0.011)


def test_the_best_has_the_highest_accuracy():
    assert pretrained.best("resnet50d") == "timm/resnet50d.a1_in1k"
    assert pretrained.best("resnet50b") == "timm/resnet50.a1_in1k"
    assert pretrained.best("nfnet_f0") == "timm/dm_nfnet_f0.dm_in1k"
    for model in kt.models.list_models():
        names = [c for c in pretrained.checkpoints(model) if c.loaded_by == "weights"]
        assert not names or pretrained.best(model) == max(names, key=lambda c: c.top1).name


@pytest.mark.parametrize("architecture, name", [
    ("resnet50", "resnet50b"), ("resnet18", "resnet18"), ("resnet200d", "resnet200d"), ("resnetrs420", "resnet_rs420"),
    ("dm_nfnet_f3", "nfnet_f3"), ("nfnet_f3", "nfnet_f3"), ("tf_efficientnet_b7", "efficientnet_rs_b7"),
    ("vit_base", "vit_base")])
def test_names_of_timm(architecture, name):
    assert zoo_name(architecture) == name


def test_a_model_without_pretrained_weights():
    with pytest.raises(UserError, match="No pretrained weights that resnet20 loads by name are known. `keras-tricks "
                                        "list weights`"):
        kt.models.create_model("resnet20", pretrained=True)
    with pytest.raises(UserError, match="kt.weights.from_applications copies those of keras.applications.ResNet50.*"
                                        "resnet50b, whose strides differ"):
        pretrained.best("resnet50")
    with pytest.raises(UserError, match="pass a name as `weights`, without `pretrained`"):
        kt.models.create_model("resnet18", pretrained=True, weights="timm/resnet18.tv_in1k")
    with pytest.raises(UserError, match="`pretrained` is True or False.*'a1_in1k'"):
        kt.models.create_model("resnet18", pretrained="a1_in1k")


def test_without_a_network_and_a_cache(no_network):
    with pytest.raises(UserError, match="`weights` 'timm/resnet18d.ra2_in1k' are not in the cache, and the Hugging "
                                        "Face Hub cannot be reached"):
        kt.models.create_model("resnet18d", pretrained=True)


def test_from_a_cache_on_disk(no_network, original, tmp_path, monkeypatch, capsys):
    put(no_network, "timm/resnet18d.ra2_in1k", save(in_timms_names(original)), CONFIG)
    for arguments in ({"pretrained": True}, {"weights": "pretrained"}):
        model = kt.models.create_model("resnet18d", input_shape=(32, 32, 3), **arguments)
        for a, b in zip(model.variables, original.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    cli.parse(["keras-tricks", "list", "weights", "resnet18d"])
    args = cli.parse(["keras-tricks", "list", "weights", "resnet18d"])
    args.run(args)
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "resnet18d", "timm/resnet18d.ra2_in1k", "11.71", "M", "288", "73.79", "apache-2.0"]

    from support.photos import photos

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    words = ["keras-tricks", "predict", "resnet18d", str(photos(tmp_path / "p", ("a",), 1)), "--weights", "pretrained"]
    args = cli.parse([*words, "--top", "1"])
    args.run(args)
    assert "class " in capsys.readouterr().out
    (tmp_path / "keras" / "models").mkdir(parents=True)
    index = {str(i): [f"n{i:08}", f"name_{i}"] for i in range(1000)}
    (tmp_path / "keras" / "models" / pretrained.IMAGENET_NAMES).write_text(json.dumps(index))
    args.run(args)
    assert "name_" in capsys.readouterr().out, "the names that keras.applications keeps"


def test_a_recipe_holds_the_name_that_was_chosen():
    recipe = Recipe(model=Model(name="resnet50d", weights="pretrained"))
    assert with_pretrained(recipe).model.weights == "timm/resnet50d.a1_in1k"
    assert with_pretrained(Recipe()) == Recipe()


def test_the_list_shows_all(capsys):
    args = cli.parse(["keras-tricks", "list", "weights"])
    args.run(args)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [tuple(line.split()[:2]) for line in lines] == [
        (c.model, c.name) for model in kt.models.list_models() for c in pretrained.checkpoints(model)]
    assert len(lines) == len(pretrained.checkpoints())


LATER = {"resnet18d.ra4_e3600_r224_in1k", "resnet34.ra4_e3600_r224_in1k", "resnet34.tv_in1k",
         "resnet50d.ra4_e3600_r224_in1k"}  # checkpoints without a row in the results that the table is from
NOT_IN_THE_ZOO = {"tf_efficientnet_b8.ap_in1k", "tf_efficientnet_b8.ra_in1k"}


def test_the_table_is_that_of_timm():
    """Names, parameters and sizes of timm 1.0.31. Its package has no accuracies, which test_every_accuracy compares."""
    path = pathlib.Path(__file__).parents[1] / "golden" / "timm_weights.json"
    theirs = {name: (parameters, size) for name, (parameters, size, _) in json.loads(path.read_text()).items()}
    ours = {c.name.removeprefix("timm/"): (c.parameters, c.image_size) for c in pretrained.checkpoints()
            if c.loaded_by == "weights"}
    assert {name: found for name, found in ours.items() if theirs.get(name) != pytest.approx(found, abs=0.011)} == {}
    assert theirs.keys() - ours.keys() == LATER | NOT_IN_THE_ZOO


def golden(name):
    return json.loads((pathlib.Path(__file__).parents[1] / "golden" / name).read_text())


def listed(capsys):
    """{name of the weights: the line that `list weights` prints, without its model and licence}"""
    args = cli.parse(["keras-tricks", "list", "weights"])
    args.run(args)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    return {row[1]: (row[2], row[4], row[5]) for row in rows}


def test_every_accuracy_in_the_list_is_published(capsys):
    """top-1, parameters and pixels of timm's results, and top-1 and parameters of keras.applications' table."""
    expected = {f"timm/{name}": (f"{float(count):.2f}", size, f"{float(top1):.2f}")
                for name, (top1, _, count, size) in golden("timm_results.json").items() if name not in NOT_IN_THE_ZOO}
    found = listed(capsys)
    assert {name: row for name, row in found.items() if name.startswith("timm/")} == expected
    assert len(expected) == 108
    theirs = {f"keras.applications.{name}": (f"{count / 1e6:.1f}0", f"{100 * float(top1):.2f}")
              for name, (top1, _, count) in golden("keras_applications.json").items()}
    assert {name: row[::2] for name, row in found.items() if not name.startswith("timm/")} == theirs
    assert {c.name: c.top1 for c in pretrained.checkpoints() if c.loaded_by == "weights"} == {
        f"timm/{name}": float(top1) for name, (top1, *_) in golden("timm_results.json").items()
        if name not in NOT_IN_THE_ZOO}, "to the last digit"


@pytest.mark.slow
def test_the_table_is_that_of_keras_applications():
    own = [c for c in pretrained.checkpoints() if c.loaded_by == "from_applications"]
    assert len(own) == 4
    for found in own:
        build = getattr(keras.applications, found.name.removeprefix("keras.applications."))
        model = build(weights=None)
        assert found.parameters == pytest.approx(model.count_params() / 1e6, abs=0.06), found
        assert model.input_shape[1] == found.image_size
