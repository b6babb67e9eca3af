"""Zero gamma on models of other libraries: the selected gammas, and blocks that become the identity."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError


def adds(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]


def zeroed(model):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    gammas = {norm.name: norm.gamma.numpy() for norm in norms}
    assert all((g == 0).all() or (g == 1).all() for g in gammas.values())
    return [name for name, gamma in gammas.items() if not gamma.any()]


def images(size):
    return np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")


@pytest.mark.slow  # test_every_application.py counts the same branches
def test_keras_resnet50():
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    names = [f"conv{s}_block{b}_3_bn" for s, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)) for b in range(1, blocks + 1)]
    blocks = [name.removesuffix("_3_bn") for name in names]
    before = [f"{block}_0_bn" if block.endswith("block1") else previous + "_out"
              for block, previous in zip(blocks, ["", *blocks], strict=False)]
    ends = [(shortcut, f"{block}_out") for block, shortcut in zip(blocks, before, strict=True)]
    taps = keras.Model(model.input, [[model.get_layer(name).output for name in pair] for pair in ends])

    def identities():
        return [np.array_equal(out, np.maximum(shortcut, 0)) for shortcut, out in taps(images(64))]

    assert not any(identities())
    assert kt.surgery.zero_gamma(model) == names and len(names) == 16
    assert zeroed(model) == names
    assert all(identities())


@pytest.mark.slow
def test_mobilenet_v2():
    model = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    changed = kt.surgery.zero_gamma(model)
    assert changed == [add.name.replace("_add", "_project_BN") for add in adds(model)] == zeroed(model)
    assert len(changed) == 10
    taps = keras.Model(model.input, [[add.input[0], add.output] for add in adds(model)])
    for shortcut, total in taps(images(32)):
        np.testing.assert_array_equal(total, shortcut)


@pytest.mark.parametrize("block, last", [("basic", 2), ("bottleneck", 3)])
def test_our_resnets(block, last):
    model = kt.models.ResNet(block, (2, 2), input_shape=(16, 16, 3), classes=2, stem="cifar", filters=(4, 8),
                             stem_filters=4, drop_path_rate=0.3, layout="d")
    names = [f"stage{s}_block{b}_conv{last}_bn" for s in (1, 2) for b in (1, 2)]
    assert kt.surgery.zero_gamma(model) == names == zeroed(model)


@pytest.mark.parametrize("branch_first", [False, True])
@pytest.mark.parametrize("projected", [False, True])
def test_the_branch_is_found_on_either_side(branch_first, projected):
    inputs = keras.Input((8, 8, 3))
    shortcut = inputs
    if projected:
        shortcut = keras.layers.Conv2D(3, 1)(inputs)
        shortcut = keras.layers.BatchNormalization(name="shortcut")(shortcut)
    branch = keras.layers.BatchNormalization(name="first")(keras.layers.Conv2D(3, 3, padding="same")(inputs))
    branch = keras.layers.BatchNormalization(name="last")(keras.layers.Conv2D(3, 3, padding="same")(branch))
    branch = keras.layers.Dropout(0.1)(branch)
    sides = [branch, shortcut] if branch_first else [shortcut, branch]
    assert kt.surgery.zero_gamma(keras.Model(inputs, keras.layers.Add()(sides))) == ["last"]


@pytest.mark.parametrize("last", ["convolution", "no scale", "no addition"])
def test_nothing_to_change_warns(last):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="norm", scale=last != "no scale")(keras.layers.Conv2D(3, 1)(inputs))
    if last == "convolution":  # pre-activation: adding a constant-gain convolution is not the identity at gamma 0
        x = keras.layers.Conv2D(3, 1)(x)
    model = keras.Model(inputs, x if last == "no addition" else keras.layers.Add()([inputs, x]), name="plain")
    before = model.get_weights()
    with pytest.warns(UserWarning, match="changed nothing: plain"):
        assert kt.surgery.zero_gamma(model) == []
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def block(x, name, norm=None, operation=False):
    branch = keras.layers.Conv2D(3, 3, padding="same")(x)
    branch = (norm or keras.layers.BatchNormalization(name=name))(branch)
    return x + branch if operation else keras.layers.Add()([x, branch])


def test_sums_written_as_an_operation():
    inputs = keras.Input((8, 8, 3))
    assert kt.surgery.zero_gamma(keras.Model(inputs, block(inputs, "last", operation=True))) == ["last"]


def test_models_inside_models_at_any_depth():
    inputs = keras.Input((8, 8, 3))
    inner = keras.Model(inputs, block(inputs, "inner_last"), name="inner")
    middle = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.ReLU()])
    outer = keras.Model(inputs, block(middle(inputs), "outer_last"))
    assert kt.surgery.zero_gamma(outer) == ["inner_last", "outer_last"]


def test_a_shared_norm_must_end_a_branch_wherever_it_is_called():
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.BatchNormalization(name="shared")
    both = keras.Model(inputs, block(block(inputs, None, shared), None, shared))
    assert kt.surgery.zero_gamma(both) == ["shared"]
    shared = keras.layers.BatchNormalization(name="shared")
    once = keras.Model(inputs, block(shared(inputs), None, shared))
    with pytest.warns(UserWarning, match="changed nothing"):
        assert kt.surgery.zero_gamma(once) == []


def test_a_norm_that_others_read_and_sums_without_a_shortcut_keep_their_gamma():
    inputs = keras.Input((8, 8, 3))
    branch = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3, padding="same")(inputs))
    read_twice = keras.Model(inputs, [keras.layers.Add()([inputs, branch]), branch])
    sides = [keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3, padding="same")(inputs)) for _ in range(2)]
    for model in (read_twice, keras.Model(inputs, keras.layers.Add()(sides))):
        with pytest.warns(UserWarning, match="changed nothing"):
            assert kt.surgery.zero_gamma(model) == []


def test_several_inputs_and_outputs():
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    model = keras.Model([left, right], [block(left, "left"), block(right, "right")])
    assert sorted(kt.surgery.zero_gamma(model)) == ["left", "right"]


def test_subclassed_models_are_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((8, 8, 3))
    for model in (Own(name="own"), keras.Model(inputs, Own(name="own")(inputs))):
        with pytest.raises(UserError, match=r"own.* is a subclassed model \(Own\).*functional model"):
            kt.surgery.zero_gamma(model)
    with pytest.raises(UserError, match="is not built"):
        kt.surgery.zero_gamma(keras.Sequential([keras.layers.Conv2D(2, 3)]))
