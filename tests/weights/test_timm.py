"""timm's checkpoints in our models: the same logits, and error messages for invalid checkpoints."""

import json
import math
import pathlib
import zlib

import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights.timm import assign_timm
from keras_tricks.weights.timm_names import timm_name

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_logits.json").read_text())["models"]
OURS = {  # timm's name: ours, options. timm's plain ResNets of 50 layers and more are layout B.
    "dm_nfnet_f0": ("nfnet_f0", {"layout": "timm_dm"}),
    "nfnet_f0": ("nfnet_f0", {"layout": "timm"}),
    "nf_resnet50": ("nf_resnet50", {"layout": "timm"}),
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50b", {}),
    "resnet50c": ("resnet50c", {}),
    "resnet50d": ("resnet50d", {}),
    "resnetrs50": ("resnet_rs50", {}),
    "resnetrs101": ("resnet_rs101", {}),
    "inception_resnet_v2": ("inception_resnet_v2", {}),
    "tf_efficientnet_b0": ("efficientnet_rs_b0", {}),
    "tf_efficientnet_b1": ("efficientnet_rs_b1", {}),
    "seresnext50_32x4d": ("seresnext50_32x4d", {}),
}


def drawn(name, shape):
    """As `tensor` of golden/make_timm_logits.py."""
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shape) > 1 and not name.endswith("gain"):
        return (numbers.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype("float32")
    low, high = (-0.1, 0.1) if name.endswith(("bias", "running_mean")) else (0.5, 1.5)
    return np.asarray(numbers.uniform(low, high, shape), "float32")


FAST = ("dm_nfnet_f0", "nf_resnet50", "resnet18", "resnet50d", "tf_efficientnet_b0")  # one of a family


@pytest.mark.parametrize("timm", [*FAST, *(pytest.param(name, marks=pytest.mark.slow)
                                          for name in OURS if name not in FAST)])
def test_logits_equal_timm(timm):
    golden, (name, options) = GOLDEN[timm], OURS[timm]
    size = golden["image_size"]
    model = kt.models.create_model(name, classifier_activation=None, input_shape=(size, size, 3), **options)
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == golden["parameters"]
    assign_timm(model, {n: drawn(n, tuple(shape)) for n, shape in golden["tensors"].items()})
    image = np.random.RandomState(0).normal(size=(1, size, size, 3)).astype("float32")
    logits = np.asarray(model(image, training=False))[0, :: golden["every"]]
    assert np.abs(logits - golden["logits"]).max() <= 1e-4 * np.abs(golden["logits"]).max()


def tensors_of(model):
    """The model's own weights under timm's names and axes."""
    paths = {v.path for v in model.weights}
    return {timm_name(v.path, paths): value.transpose(3, 2, 0, 1) if (value := v.numpy()).ndim == 4 else value.T
            for v in model.weights}


@pytest.mark.parametrize("fault, words", [
    ("missing", "no tensor 'stages.0.0.conv2.weight'"),
    ("renamed", "no tensor 'stages.0.0.conv2.weight' for 'stage1_block1_conv2/kernel'.*Did you mean"),
    ("left over", "does not use tensor 'stages.0.0.conv9.weight'"),
    ("cut", "'stages.0.0.conv2.weight' has shape"),
    ("transposed", "'stages.0.0.conv2.weight' has shape"),
    ("not finite", "'stages.0.0.conv2.weight' contains values that are not finite"),
])
def test_a_checkpoint_that_does_not_fit(fault, words):
    model = kt.models.create_model("test_nf_resnet")
    tensors, name = tensors_of(model), "stages.0.0.conv2.weight"
    before = [v.numpy() for v in model.variables]
    value = tensors.pop(name) if fault != "left over" else tensors[name]
    if fault in ("renamed", "left over"):
        tensors[name.replace("conv2", "conv9")] = value
    elif fault != "missing":
        tensors[name] = {"cut": value[:, :2], "transposed": value.T, "not finite": value * np.nan}[fault]
    with pytest.raises(UserError, match=words):
        assign_timm(model, tensors)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, model.variables, strict=True))


def test_own_weights_come_back():
    model = kt.models.create_model("test_resnet_rs")
    tensors = tensors_of(model) | {"bn1.num_batches_tracked": np.array(3)}
    other = kt.models.create_model("test_resnet_rs")
    assign_timm(other, tensors)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_families_that_timm_has_not():
    with pytest.raises(UserError, match="no converter for its family"):
        assign_timm(kt.models.create_model("test_wide_resnet"), {})


def test_an_efficientnet_that_pads_otherwise_is_refused():
    model = kt.models.EfficientNetRSB0(input_shape=(32, 32, 3), classes=3)
    with pytest.raises(UserError, match="pads images differently.*weights of tf_efficientnet_b0"):
        assign_timm(model, tensors_of(model), architecture="efficientnet_b0")
