"""Names of the zoo: building, listing, describing, and errors for unknown names."""

import json
import pathlib

import pytest

import keras_tricks as kt
from keras_tricks.models import registry
from keras_tricks.utils.errors import UserError

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_resnet.json").read_text())["models"]
TINY = dict(input_shape=(8, 8, 3), stem="cifar")


@pytest.mark.parametrize("word", ["classes", "num_classes"])
def test_classes_and_num_classes_mean_the_same(word):
    model = kt.models.create_model("test_resnet", **{word: 7}, **TINY)
    assert model.output_shape == (None, 7) and model.name == "test_resnet"
    with pytest.raises(UserError, match="`classes` and `num_classes`"):
        kt.models.create_model("test_resnet", classes=7, num_classes=7)


def test_constructor_and_registry_build_the_same_network():
    by_name = kt.models.create_model("resnet20d", classes=10)
    by_class = kt.models.ResNet20D(classes=10)
    assert [(v.path, v.shape) for v in by_name.variables] == [(v.path, v.shape) for v in by_class.variables]
    positional = kt.models.ResNet20D(False, None, None, (8, 8, 3), "avg")  # the order of keras.applications
    assert positional.output_shape == (None, 64)
    assert kt.models.ResNet50D.__name__ == "ResNet50D" and "1812.01187" in kt.models.ResNet50D.__doc__


def test_unknown_names():
    with pytest.raises(UserError, match=r"no model 'resnet50dd'\. Did you mean \"resnet50d\""):
        kt.models.create_model("resnet50dd")
    with pytest.raises(UserError, match="resnet18"):
        kt.models.model_info("resnet-18")
    with pytest.raises(UserError, match=r'no argument `drop_path_rat`\. Did you mean "drop_path_rate"'):
        kt.models.create_model("resnet50d", drop_path_rat=0.1)
    with pytest.raises(UserError, match="no argument `layout`"):  # it defines the variant
        kt.models.create_model("resnet50d", layout="a")


def test_list_is_sorted_by_number_and_filtered():
    assert kt.models.list_models("resnet50*") == ["resnet50", "resnet50b", "resnet50c", "resnet50d"]
    assert kt.models.list_models("resnet*d") == [f"resnet{n}d" for n in (18, 20, 32, 34, 44, 50, 56, 101, 152, 200)]
    everything = kt.models.list_models()
    assert {"inception_v3", "mobilenet", "test_resnet"} < set(everything)
    assert everything.index("resnet50") < everything.index("resnet101")
    assert kt.models.list_models("vgg*") == []


def test_a_name_registered_twice_shows_the_first_place():
    info = kt.models.model_info("resnet50")
    with pytest.raises(ValueError, match=r"'resnet50' is taken by keras_tricks\.models\.resnet\.ResNet50: .*test_a"):
        registry.register("resnet50", test_a_name_registered_twice_shows_the_first_place, info)
    assert kt.models.model_info("resnet50") is info


def test_info_says_what_the_model_expects():
    info = kt.models.model_info("resnet50d")
    assert info.paper_ids == "arXiv:1812.01187" and info.paper_top1 == 77.16
    assert (info.input_size, info.crop_pct, info.num_classes) == ((224, 224, 3), 0.875, 1000)
    assert info.mean == (123.68, 116.779, 103.939) and info.std == (58.393, 57.12, 57.375)  # the paper's, section 2.1
    assert kt.models.model_info("resnet50").paper_ids == "arXiv:1512.03385"
    assert kt.models.model_info("inception_v3").test_input_size == (299, 299, 3)


def test_info_counts_parameters_and_multiply_adds():
    info = kt.models.model_info("resnet18")
    assert info.parameters == GOLDEN["resnet18"]["parameters"]
    assert info.macs() == GOLDEN["resnet18"]["macs"]
    head = 512 * 1000
    assert info.macs(192) - head == 4 * (info.macs(96) - head)
