"""ResNets against published sizes (facts of timm 1.0.31) and the definitions of the tweaks."""

import functools
import json
import pathlib
import warnings

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "timm_resnet.json").read_text())["models"]
COUNTS = {  # name: trainable parameters, batch-normalization statistics (timm; "resnet50" is layout a, not in timm)
    "resnet18": (11_689_512, 9_600), "resnet18d": (11_708_744, 9_728),
    "resnet34": (21_797_672, 17_024), "resnet34d": (21_816_904, 17_152),
    "resnet50": (25_557_032, 53_120), "resnet50b": (25_557_032, 53_120),
    "resnet50c": (25_576_264, 53_248), "resnet50d": (25_576_264, 53_248),
    "resnet101": (44_549_160, 105_344), "resnet101b": (44_549_160, 105_344),
    "resnet101c": (44_568_392, 105_472), "resnet101d": (44_568_392, 105_472),
    "resnet152": (60_192_808, 151_424), "resnet152b": (60_192_808, 151_424),
    "resnet152c": (60_212_040, 151_552), "resnet152d": (60_212_040, 151_552),
    "resnext50_32x4d": (25_028_904, 68_224), "seresnext50_32x4d": (27_559_896, 68_224),
    "seresnet50": (28_088_024, 53_120), "seresnet50d": (28_107_256, 53_248),
    "seresnet101d": (49_346_104, 105_472), "seresnet152d": (66_841_080, 151_552),
    "resnext101_32x4d": (44_177_704, 137_856), "seresnext101_32x4d": (48_955_416, 137_856),
    "resnet200": (64_673_832, 176_000), "resnet200b": (64_673_832, 176_000), "resnet200d": (64_693_064, 176_128),
}
# One of them is built by default, the others with `-m slow`.
DEEP = ("resnet101", "resnet152", "resnet200", "resnext101", "seresnext101", "seresnet")


def name_param(name):
    return pytest.param(name, marks=pytest.mark.slow) if name.startswith(DEEP) and name != "resnet101d" else name


@functools.cache
def cost(name):
    return kt.analysis.cost(kt.models.create_model(name, kernel_initializer="zeros"))


def tiny(name="test_resnet", **kwargs):
    return kt.models.create_model(name, **{"classes": 3, "input_shape": (16, 16, 3), "stem": "cifar", **kwargs})


def images(count=2, size=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype("float32")


@pytest.mark.parametrize("name", map(name_param, COUNTS))
def test_parameters_and_statistics(name):
    assert (cost(name).parameters, cost(name).non_trainable) == COUNTS[name]


def in_timm(name):
    """timm's name of the same network: its plain 50 to 200 are layout b; with basic blocks, a and b are the same."""
    basic = name.startswith(("resnet18", "resnet34"))
    return name.removesuffix("b") if basic or name.endswith("b") else name if name[-1] in "cd" else None


@pytest.mark.parametrize("name", [name_param(n) for n in COUNTS if in_timm(n) in GOLDEN])
def test_multiply_adds_equal_timm(name):
    assert cost(name).macs == GOLDEN[in_timm(name)]["macs"]


def test_cost_of_the_tweaks_is_that_of_the_paper():
    a, b, c, d = (cost(name) for name in ("resnet50", "resnet50b", "resnet50c", "resnet50d"))
    assert b.parameters - a.parameters == 0
    assert c.parameters - a.parameters == 19_232
    assert d.parameters - c.parameters == 0
    assert b.macs == pytest.approx(4.11e9, rel=0.01)
    assert c.macs == d.macs == pytest.approx(4.35e9, rel=0.01)
    assert 0.2e9 < b.macs - a.macs < 0.3e9


TIMM_MILLIONS = {  # timm's results csv, of the names in COUNTS
    "resnext50_32x4d": 25.03, "resnext101_32x4d": 44.18, "seresnet50": 28.09, "seresnet152d": 66.84,
    "seresnext50_32x4d": 27.56, "seresnext101_32x4d": 48.96,
}


def test_parameters_of_groups_and_gates_are_those_that_timm_prints():
    assert {name: round(COUNTS[name][0] / 1e6, 2) for name in TIMM_MILLIONS} == TIMM_MILLIONS


def test_groups_and_gates():
    model = kt.models.ResNet("bottleneck", (1, 1), "b", input_shape=(32, 32, 3), classes=2, stem="cifar", groups=4,
                             filters=(32, 64), stem_filters=4, width_per_group=8, se_ratio=1 / 16)
    first, second = (model.get_layer(f"stage{i}_block1_conv2") for i in (1, 2))
    assert (first.groups, first.filters, second.filters) == (4, 16, 32)  # 8 channels in a stage of 64 filters
    assert first.kernel.shape == (3, 3, 4, 16)
    assert [model.get_layer(f"stage1_block1_conv{i}").groups for i in (1, 3)] == [1, 1]
    assert model.get_layer("stage2_block1_se").layers[1].units == 16
    plain = kt.models.ResNet("bottleneck", (1,), "b", input_shape=(32, 32, 3), stem="cifar", filters=(32,))
    one = kt.models.ResNet("bottleneck", (1,), "b", input_shape=(32, 32, 3), stem="cifar", filters=(32,), groups=1)
    assert [v.path for v in plain.variables] == [v.path for v in one.variables]


@pytest.mark.parametrize("block, arguments, message", [
    ("basic", {"groups": 2}, "need block=\"bottleneck\""), ("bottleneck", {"groups": 0}, "`groups` must be"),
    ("bottleneck", {"width_per_group": 1.5}, "`width_per_group` must be"),
    ("bottleneck", {"width_per_group": 1}, "without channels"),
])
def test_groups_that_no_block_has(block, arguments, message):
    with pytest.raises(UserError, match=message):
        kt.models.ResNet(block, (1,), "b", input_shape=(32, 32, 3), stem="cifar", filters=(32,), **arguments)


@pytest.mark.parametrize("layout, strides", [("a", [2, 1, 1]), ("b", [1, 2, 1]), ("d", [1, 2, 1])])
def test_where_a_block_halves_the_resolution(layout, strides):
    model = kt.models.ResNet("bottleneck", (1, 1), layout, input_shape=(32, 32, 3), classes=2, stem="cifar",
                             filters=(4, 8), stem_filters=4)
    assert [model.get_layer(f"stage2_block1_conv{i}").strides[0] for i in (1, 2, 3)] == strides
    shortcut = model.get_layer("stage2_block1_shortcut")
    assert isinstance(shortcut, kt.layers.AvgPoolShortcut) == (layout == "d")
    assert layout == "d" or shortcut.strides == (2, 2)


@pytest.mark.parametrize("layout", ["b", "d"])
def test_stems(layout):
    options = dict(input_shape=(96, 96, 3), classes=2, filters=(4,), stem_filters=4)
    for stem, size in (("imagenet", 24), ("cifar", 96)):
        model = kt.models.ResNet("basic", (1,), layout, stem=stem, **options)
        assert model.get_layer("stage1_block1_out").output.shape[1:3] == (size, size)
        assert any("pool" in layer.name for layer in model.layers if layer.name.startswith("stem")) == (size == 24)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert (first.kernel_size, first.strides) == ((3, 3), (1, 1))


def test_cifar_networks_are_those_of_the_paper():
    """Table 6 of arXiv:1512.03385: 0.27 and 0.85 million parameters for 20 and 56 layers."""
    for name, millions in (("resnet20", 0.27), ("resnet56", 0.85)):
        model = kt.models.create_model(name, classes=10)
        assert kt.analysis.cost(model).parameters / 1e6 == pytest.approx(millions, abs=0.01)
        assert model.input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_zero_gamma_makes_every_block_the_identity(block):
    def blocks(zero_gamma):
        model = kt.models.ResNet(block, (2, 2), input_shape=(16, 16, 3), classes=2, stem="cifar", filters=(4, 8),
                                 stem_filters=4, zero_gamma=zero_gamma)
        adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
        outs = [model.get_layer(add.name.replace("_add", "_out")) for add in adds]
        taps = keras.Model(model.input, [[*add.input, out.output] for add, out in zip(adds, outs, strict=True)])
        return taps(images(), training=True)

    for shortcut, branch, out in blocks(True):
        assert not np.any(branch) and np.any(shortcut)
        np.testing.assert_array_equal(out, np.maximum(shortcut, 0))
    assert all(np.any(branch) for _, branch, _ in blocks(False))


def test_zero_gamma_excludes_stem_and_shortcut():
    model = tiny(zero_gamma=True)
    zero = [w.path for w in model.trainable_variables if w.name == "gamma" and not np.any(w.numpy())]
    assert zero == [f"{block}_conv3_bn/gamma" for block in ("stage1_block1", "stage2_block1", "stage2_block2")]


def test_drop_path_rate_grows_linearly_from_zero():
    model = kt.models.ResNet("basic", (2, 2), input_shape=(16, 16, 3), stem="cifar", filters=(4, 8), stem_filters=4,
                             drop_path_rate=0.3)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, kt.layers.DropPath)}
    expected = {"stage1_block2": 0.1, "stage2_block1": 0.2, "stage2_block2": 0.3}
    assert rates == pytest.approx({f"{block}_drop_path": rate for block, rate in expected.items()})


def test_small_images_on_the_imagenet_stem_warn():
    with pytest.warns(UserWarning, match='32 pixels by 4.*stem="cifar"'):
        tiny(input_shape=(32, 32, 3), stem="imagenet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny(input_shape=(32, 32, 3), stem="cifar")
        tiny(input_shape=(96, 96, 3), stem="imagenet")


def test_kernels_are_he_normal_over_fan_out_and_never_shared():
    options = dict(block="basic", blocks=(2,), filters=(64,), include_top=False, stem="cifar", input_shape=(8, 8, 3))
    model = kt.models.ResNet(**options)
    one, two = (model.get_layer(f"stage1_block{i}_conv1").kernel.numpy() for i in (1, 2))
    assert one.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.03)
    assert not np.allclose(one, two)
    glorot = kt.models.ResNet(**options, kernel_initializer="glorot_uniform").get_layer("stage1_block1_conv1").kernel
    limit = np.sqrt(6 / (2 * 9 * 64))
    assert 0.99 * limit < np.abs(glorot.numpy()).max() <= limit


def test_without_top():
    assert tiny(include_top=False).output_shape == (None, 8, 8, 64)
    assert tiny(include_top=False, pooling="avg").output_shape == (None, 64)
    features, x = tiny(include_top=False), images()
    pooled = tiny(include_top=False, pooling="max")
    pooled.set_weights(features.get_weights())
    np.testing.assert_allclose(pooled(x), np.asarray(features(x)).max(axis=(1, 2)), rtol=1e-5)
    assert tiny(include_top=False, input_shape=None, stem="imagenet").input_shape == (None, None, None, 3)


def test_with_top():
    probabilities = np.asarray(tiny()(images()))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    logits = tiny(classifier_activation=None)
    assert np.asarray(logits(images())).min() < 0
    rates = [layer.rate for layer in tiny(dropout_rate=0.3).layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.3]


def test_input_tensor_is_built_on():
    pixels = keras.Input((16, 16, 3), name="pixels")
    model = tiny(input_tensor=keras.layers.Rescaling(0.5)(pixels), input_shape=None)
    plain = tiny()
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images()), plain(images() * 0.5), rtol=1e-5)


def test_sync_bn_reaches_every_normalization():
    def norms(layers):
        for layer in layers:
            found = isinstance(layer, kt.layers.BatchNormalization)
            yield from [layer] if found else norms(getattr(layer, "layers", []))

    for sync_bn in (False, True):
        found = list(norms(tiny(sync_bn=sync_bn, stem="imagenet", input_shape=(96, 96, 3)).layers))
        assert len(found) == 3 + 3 * 3 + 2 and all(norm.synchronized is sync_bn for norm in found)


@pytest.mark.parametrize(
    "kwargs, message",
    [({"stem": "cifr"}, 'Did you mean "cifar"'), ({"pooling": "average", "include_top": False}, 'Did you mean "avg"'),
     ({"input_shape": (16, 16)}, r"`input_shape` must be \(height, width, channels\).*\(16, 16\)"),
     ({"clases": 3}, 'no argument `clases`. Did you mean "classes"')],
    ids=str,
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(UserError, match=message):
        tiny(**kwargs)


@pytest.mark.parametrize("kwargs, message", [({"layout": "e"}, "`layout`"), ({"block": "botleneck"}, '"bottleneck"')])
def test_wrong_family_arguments(kwargs, message):
    with pytest.raises(UserError, match=message):
        kt.models.ResNet(**{"block": "basic", "blocks": (1,), "filters": (4,), "input_shape": (96, 96, 3), **kwargs})


def test_head_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = tiny()
    assert keras.backend.standardize_dtype(model(images()).dtype) == "float32"
    assert model.get_layer("head").compute_dtype == "float32"
    assert model.get_layer("stage1_block1_conv1").compute_dtype == "float16"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


def saved(model, path):
    if path.suffix == ".safetensors":
        safetensors_io.save(path, safetensors_io.by_path(model.variables))
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return str(path)


KINDS = ["w.safetensors", "w.weights.h5", "w.keras"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_round_trip(kind, tmp_path):
    options = dict(drop_path_rate=0.2, dropout_rate=0.1)
    trained = tiny(**options)
    trained(images(seed=1), training=True)  # changes the statistics
    path = saved(trained, tmp_path / kind)
    again = tiny(**options, weights=path)
    np.testing.assert_array_equal(again(images()), trained(images()))
    assert not np.array_equal(tiny(**options)(images()), trained(images()))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_model(kind, tmp_path):
    path = saved(tiny(), tmp_path / kind)
    with pytest.raises(UserError, match=r"head/kernel.*\(64, 5\)|\(64, 5\).*head/kernel") as error:
        kt.weights.load(tiny(classes=5), path)
    assert "(64, 3)" in str(error.value) and kind in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("kind", ["w.pt", "w.pth", "w.pkl", "imagenet"])
def test_other_kinds_of_weights_are_refused(kind, tmp_path):
    (tmp_path / kind).write_bytes(b"anything")
    with pytest.raises(UserError, match=r"\.safetensors, \.weights\.h5, \.keras.*Pickled"):
        tiny(weights=str(tmp_path / kind))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_and_broken_weight_files(kind, tmp_path):
    with pytest.raises(UserError, match="The weight file .* does not exist"):
        tiny(weights=str(tmp_path / kind))
    (tmp_path / kind).write_bytes(b"broken" * 50)
    with pytest.raises(UserError, match=kind):
        tiny(weights=str(tmp_path / kind))
