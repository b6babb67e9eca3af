"""The standard deviations of fresh weights, layer by layer, beside the formulas of the authors' code."""

import math

import keras
import pytest

from keras_tricks import models

# family: (model, arguments, variance of a convolution's kernel (h, w, in, out), the source)
FAMILIES = {
    "resnet": ("resnet50d", {}, lambda h, w, i, o: 2 / (h * w * o), "timm, gluon-cv: He over fan-out"),
    "resnet_rs": ("resnet_rs50", {}, lambda h, w, i, o: 1 / (h * w * i), "resnet_layers.py: scale 1, fan-in"),
    "wide_resnet": ("wide_resnet16_4", {}, lambda h, w, i, o: 2 / (h * w * o), "wide-resnet.lua, MSRinit: fan-out"),
    "nf_resnet": ("nf_resnet50", {}, lambda h, w, i, o: 1 / (h * w * i), "base.py: variance scaling 1, fan-in"),
    "nfnet": ("nfnet_f0", {"widths": (64, 128, 384, 384), "group_width": 32},
              lambda h, w, i, o: 1 / (h * w * i), "base.py: variance scaling 1, fan-in"),
    "skipinit_resnet": ("skipinit_resnet50", {}, lambda h, w, i, o: 1 / (h * w * i), "Haiku's default"),
}


def kernels(model):
    """(path, shape, mean, standard deviation) of all kernels of convolutions with 2,000 weights or more."""
    for variable in model.trainable_variables:
        if variable.name == "kernel" and len(variable.shape) == 4 and math.prod(variable.shape) >= 2000:
            values = keras.ops.convert_to_numpy(variable)
            yield variable.path, variable.shape, values.mean(), values.std()


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_have_the_deviation_of_the_source(family):
    name, arguments, variance, _ = FAMILIES[family]
    keras.utils.set_random_seed(0)
    found = list(kernels(models.create_model(name, **arguments)))
    assert len(found) >= 14
    for path, shape, mean, deviation in found:
        wanted = variance(*shape) ** 0.5
        count = math.prod(shape)
        assert deviation == pytest.approx(wanted, rel=4 / (2 * count) ** 0.5), path
        assert abs(mean) < 5 * wanted / count**0.5, path


@pytest.mark.parametrize("family, name, arguments", [
    ("nfnet", "nfnet_f0", {"widths": (64, 128, 384, 384), "group_width": 32}), ("nf_resnet", "nf_resnet50", {})])
def test_classifiers_of_the_normalizer_free_families(family, name, arguments):
    """N(0, 0.01)."""
    keras.utils.set_random_seed(0)
    model = models.create_model(name, **arguments)
    values = keras.ops.convert_to_numpy(model.layers[-1].kernel if hasattr(model.layers[-1], "kernel") else
                                        model.layers[-2].kernel)
    assert values.std() == pytest.approx(0.01, rel=0.02)


def test_gates_have_haikus_default():
    """Truncated normal of variance 1 / fan-in: SqueezeExcite of base.py is two `hk.Linear`."""
    keras.utils.set_random_seed(0)
    model = models.create_model("nfnet_f0", widths=(64, 128, 384, 384), group_width=32)
    found = [v for v in model.trainable_variables if "_se/" in v.path and v.path.endswith("kernel")]
    assert len(found) == 24
    for variable in found:
        values = keras.ops.convert_to_numpy(variable)
        wanted = variable.shape[0] ** -0.5
        assert values.std() == pytest.approx(wanted, rel=4 / (2 * values.size) ** 0.5)
        assert abs(values).max() < 2.3 * wanted / 0.8796  # truncated at two deviations of the underlying normal


def test_fixup_starts_as_the_authors():
    """fixup_resnet_imagenet.py: first kernels of a branch He over fan-out times L^(-1/4), L = 16 blocks; last kernels
    and classifier zero; shortcuts He; the stem, and nothing else, has PyTorch's default."""
    keras.utils.set_random_seed(0)
    model = models.create_model("fixup_resnet50")
    stem = keras.ops.convert_to_numpy(model.get_layer("stem").kernel)
    assert 0.99 / 147**0.5 < abs(stem).max() <= 1 / 147**0.5
    assert stem.std() == pytest.approx(1 / (3 * 147) ** 0.5, rel=0.03)
    for path, (height, width, _, outputs), _, deviation in kernels(model):
        if path.startswith("stem/"):
            continue
        he, last = (2 / (height * width * outputs)) ** 0.5, path.endswith("conv3/kernel")
        wanted = 0.0 if last else he if "shortcut" in path else he * 16**-0.25
        assert deviation == pytest.approx(wanted, rel=0.04), path
    head = model.get_layer("head")
    assert not keras.ops.convert_to_numpy(head.kernel).any() and not keras.ops.convert_to_numpy(head.bias).any()
