"""Backbones of keras-hub by name. The real package, if it is installed."""

import sys

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks import cli
from keras_tricks.utils.errors import UserError

RESNET = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7], "stackwise_num_filters": [64, 64],
          "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2], "block_type": "basic_block"}


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_backbone_becomes_a_classifier_with_logits(channels):
    pytest.importorskip("keras_hub")
    model = kt.models.create_model("keras_hub.models:ResNetBackbone", input_shape=(32, 32, channels), classes=4,
                                   **RESNET)
    assert model.output_shape == (None, 4) and model.layers[-1].name == "head"
    assert model(np.ones((2, 32, 32, channels), "float32")).shape == (2, 4)


def test_a_preset_on_disk_with_its_weights(tmp_path):
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.ResNetBackbone(image_shape=(32, 32, 3), **RESNET)
    backbone.save_to_preset(tmp_path / "preset")
    build = kt.models.hub_backbones.builder(str(tmp_path / "preset"), "x")
    model = kt.models.create_model(build, input_shape=(32, 32, 3), classes=4, load_weights=True)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    features = keras.ops.mean(backbone(x, training=False), axis=(1, 2))
    head = model.get_layer("head")
    np.testing.assert_allclose(model(x, training=False), features @ head.kernel + head.bias, rtol=1e-4, atol=1e-5)


def test_wrong_arguments_and_presets_are_one_line():
    pytest.importorskip("keras_hub")
    with pytest.raises(UserError, match="raised TypeError: .*missing 6 required positional arguments") as error:
        kt.models.create_model("keras_hub.models:ResNetBackbone", input_shape=(32, 32, 3), classes=4)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="keras-hub cannot open its preset no_such_preset") as error:
        kt.models.create_model("keras_hub:no_such_preset", input_shape=(32, 32, 3), classes=4)
    assert "\n" not in str(error.value)


NO_NETWORK = """ConnectionError: HTTPSConnectionPool(host='www.kaggle.com', port=443): Max retries exceeded
(Caused by NameResolutionError("Failed to resolve 'www.kaggle.com'"))"""


class NoNetwork:
    """Stands for `keras_hub` on a machine without a network: its downloads end in an error of several lines."""

    class models:
        class Backbone:
            @staticmethod
            def from_preset(preset, **options):
                raise OSError(NO_NETWORK)


def test_a_preset_without_a_network_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "keras_hub", NoNetwork)
    with pytest.raises(UserError) as error:
        kt.models.create_model("keras_hub:resnet_18_imagenet", input_shape=(32, 32, 3), classes=4)
    message = str(error.value)
    assert "\n" not in message and "keras-hub cannot open its preset resnet_18_imagenet: " in message
    assert "ConnectionError" in message
    assert message.endswith(
        "A preset that is not in keras-hub's cache needs a network; keras_hub.models:NAME needs none.")
    args = cli.parse(["keras-tricks", "train", "quickstart", "--set", "model.name=keras_hub:resnet_18_imagenet",
                      "--dry-run"])
    with pytest.raises(SystemExit) as end:
        cli.run(args)
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and len([line for line in lines if "keras-hub" in line]) == 1
    assert "Traceback" not in "".join(lines)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match="keras-hub is not installed: pip install keras-hub"):
        kt.models.create_model("keras_hub:resnet_18_imagenet", input_shape=(32, 32, 3), classes=4)
