"""Multiply-adds and activations against sums calculated by hand."""

import functools

import keras
import pytest

import keras_tricks as kt
from keras_tricks.analysis import cost
from keras_tricks.utils.errors import UserError


def rows(model):
    return {row.name: row.macs for row in cost(model).layers if row.macs}


def test_every_kind_of_layer():
    inputs = keras.Input((8, 6, 4))
    x = keras.layers.Conv2D(16, 3, 2, padding="same", name="conv")(inputs)
    x = keras.layers.Conv2D(16, 3, padding="valid", groups=4, name="grouped")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.SeparableConv2D(5, 3, padding="same", name="separable")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(7, name="dense")(keras.layers.Dropout(0.5)(x)))
    assert rows(model) == {
        "conv": 4 * 3 * 16 * 9 * 4,
        "grouped": 2 * 1 * 16 * 9 * 4,
        "depthwise": 2 * 1 * 32 * 9,
        "separable": 2 * 1 * 32 * 9 + 2 * 1 * 32 * 5,
        "dense": 5 * 7,
    }
    kernels = 16 * 9 * 4 + 16 * 9 * 4 + 32 * 9 + (32 * 9 + 32 * 5) + 5 * 7
    biases, gains = 16 + 16 + 32 + 5 + 7, 2 * 5
    spent = cost(model)
    assert spent.parameters == kernels + biases + gains
    assert spent.non_trainable == 2 * 5  # the statistics; the seed of dropout is not a parameter
    assert spent.macs == sum(rows(model).values())
    assert spent.activations == 12 * 16 + 2 * 16 + 2 * 32 + 3 * 2 * 5 + 2 * 5 + 7


def test_layers_inside_layers():
    inputs = keras.Input((32, 32, 3))
    inner = keras.Sequential([keras.Input((16, 16, 64)), keras.layers.Conv2D(2, 1, name="conv")], name="inner")
    x = inner(kt.layers.DeepStem(name="stem")(inputs))
    model = keras.Model(inputs, kt.layers.AvgPoolShortcut(4, name="short")(x))
    assert rows(model) == {
        "stem/conv1": 256 * 27 * 32,
        "stem/conv2": 256 * 288 * 32,
        "stem/conv3": 256 * 288 * 64,
        "inner/conv": 256 * 64 * 2,
        "short/conv": 64 * 2 * 4,
    }


def test_frozen_weights_are_not_trainable_parameters():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(5)])
    model.layers[0].trainable = False
    assert (cost(model).parameters, cost(model).non_trainable) == (4 * 5 + 5, 3 * 4 + 4)


def test_training_memory():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    spent = cost(model)
    weights = 3 * 4 + 4 + 8
    assert spent.training_memory(10) == 4 * (3 * weights + 8) + 10 * (4 + 4) * 4
    assert spent.training_memory(10, activation_bytes=2, slots=0) == 4 * (2 * weights + 8) + 10 * (4 + 4) * 2


def test_an_unknown_size_is_named():
    model = kt.models.create_model("test_resnet", include_top=False, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match=r"layer '\w+' is unknown.*`input_shape`"):
        cost(model)


def test_another_size_without_building_again():
    network = functools.partial(kt.models.create_model, kernel_initializer="zeros")
    for name in ("test_resnet", "test_resnet_rs", "resnet18"):
        small, large = (network(name, input_shape=(size, size, 3)) for size in (96, 160))
        assert cost(small, 160) == cost(large), name
        assert cost(small) == cost(large, 96), name
    anywhere = network("test_resnet", include_top=False, input_shape=(None, None, 3))
    assert cost(anywhere, 96).macs == cost(network("test_resnet", include_top=False, input_shape=(96, 96, 3))).macs


def test_a_size_the_model_cannot_take():
    images = keras.Input((8, 8, 3))
    flat = keras.Model(images, keras.layers.Dense(2, name="top")(keras.layers.Flatten()(images)))
    with pytest.raises(ValueError, match="'top' of .* takes 192 inputs and would receive 768"):
        cost(flat, 16)
    with pytest.raises(ValueError, match="'top' of .* takes 192 inputs and would receive 768"):
        cost(keras.Model(images, flat(images)), 16)


def test_parameters_of_layers_add_up():
    model = kt.models.create_model("test_resnet_rs")
    spent = cost(model)
    assert sum(row.parameters for row in spent.layers) == spent.parameters == model.count_params() - spent.non_trainable
    assert sum(row.non_trainable for row in spent.layers) == spent.non_trainable


def test_a_model_inside_a_model_at_another_size():
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, padding="same", name="conv")],
                             name="inner")
    spent = cost(keras.Model(images, keras.layers.GlobalAveragePooling2D()(inner(images))), 16)
    assert {row.name: row.macs for row in spent.layers if row.macs} == {"inner/conv": 16 * 16 * 27 * 2}


def test_a_shared_layer_costs_twice_and_has_its_parameters_once():
    left, right = keras.Input((8, 8, 3)), keras.Input((4, 4, 3))
    conv = keras.layers.Conv2D(2, 1, name="conv")
    pool = keras.layers.GlobalAveragePooling2D
    spent = cost(keras.Model([left, right], pool()(conv(left)) + pool()(conv(right))))
    rows = {row.name: row for row in spent.layers if row.macs}
    assert rows.keys() == {"conv", "conv (call 2)"} and {row.macs for row in rows.values()} == {64 * 6, 16 * 6}
    assert (rows["conv"].parameters, rows["conv (call 2)"].parameters) == (8, 0)
    assert spent.parameters == sum(row.parameters for row in spent.layers) == 8


def test_what_cannot_be_counted():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 1)

        def call(self, inputs):
            return self.conv(inputs)

    images = keras.Input((8, 8, 3))
    with pytest.raises(UserError, match=r"inside layer 'block\S*' \(Block\), whose own code calls layers with weights"):
        cost(keras.Model(images, Block()(images)))
