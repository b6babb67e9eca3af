"""Convolutions whose bias gets a wrong gradient in half precision are found, and announced at the start of a run."""

import keras
import pytest

import keras_tricks as kt
from keras_tricks.run.start import warn_of_biases


@pytest.mark.parametrize("kind, options, found", [
    (keras.layers.Conv2D, {"filters": 4, "dtype": "mixed_bfloat16"}, True),
    (keras.layers.Conv2D, {"filters": 4, "dtype": "float32"}, False),
    (keras.layers.Conv2D, {"filters": 4, "dtype": "mixed_bfloat16", "use_bias": False}, False),
    (keras.layers.DepthwiseConv2D, {"dtype": "mixed_float16"}, True),
    (kt.layers.GroupedConv2D, {"filters": 4, "dtype": "mixed_bfloat16"}, False),
])
def test_in_a_model_inside_a_model(kind, options, found, caplog):
    inner = keras.Sequential([keras.Input((8, 8, 3)), kind(kernel_size=3, name="stem", **options)])
    model = keras.Sequential([keras.Input((8, 8, 3)), inner])
    assert kt.analysis.half_precision_biases(model) == ["stem"] * found
    with caplog.at_level("WARNING", logger="absl"):
        warn_of_biases(model)
    assert ("1 convolutions have a bias in half precision, such as stem" in caplog.text) == found


def test_networks_of_this_package_have_none():
    keras.config.set_dtype_policy("mixed_bfloat16")
    for name, options in {"test_nfnet": {}, "test_nf_resnet": {}, "airbench94": {}, "skipinit_resnet50": {},
                          "wide_resnet16_1": {"norm": "skipinit"}}.items():
        assert kt.analysis.half_precision_biases(kt.models.create_model(name, classes=10, **options)) == [], name
