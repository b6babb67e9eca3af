"""A model as a graph: the calls of nested models, shared layers and operations, and what is computed from them."""

import keras
import numpy as np
import pytest

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import Graph, call_layer, every_layer


def nested():
    pixels = keras.Input((4,))
    inner = keras.Model(pixels, keras.layers.Dense(4, name="one")(pixels), name="inner")
    middle = keras.Sequential([keras.Input((4,)), inner, keras.layers.ReLU(name="two")], name="middle")
    total = keras.layers.Add(name="sum")([middle(pixels), pixels])
    return keras.Model(pixels, keras.layers.Dense(3, name="three")(total))


def test_calls_are_those_of_the_innermost_layers_in_order():
    assert [call.name for call in Graph(nested()).calls] == ["middle/inner/one", "middle/two", "sum", "three"]


def test_the_graph_computes_what_the_model_does_and_leaves_it_as_it_was():
    model, x = nested(), np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    config, nodes = model.get_config(), [layer.output for layer in model.layers if layer.name == "three"]
    graph = Graph(model)
    values = graph.run(call_layer, [keras.ops.convert_to_tensor(x)])
    np.testing.assert_allclose(values[id(graph.outputs[0])], model(x), rtol=1e-6)
    assert model.get_config() == config
    assert [layer.output for layer in model.layers if layer.name == "three"] == nodes  # still called once


def test_only_wanted_calls_are_run():
    graph, run = Graph(nested()), []
    graph.run(lambda call, *args: run.append(call.name) or args[0], graph.inputs, wanted=graph.calls[1].outputs)
    assert run == ["middle/inner/one", "middle/two"]


def test_a_shared_layer_appears_at_each_call():
    start, layer = keras.Input((4,)), keras.layers.Dense(4, name="twice")
    graph = Graph(keras.Model(start, layer(layer(start))))
    assert [call.layer for call in graph.calls] == [layer, layer]
    assert graph.producer(graph.calls[1].inputs[0]) is graph.calls[0]


def test_structures_and_arguments_of_calls():
    left, right = keras.Input((3, 4), name="left"), keras.Input((5, 4), name="right")
    attention = keras.layers.MultiHeadAttention(1, 2, name="attention")
    model = keras.Model({"left": left, "right": right}, attention(left, value=right))
    graph = Graph(model)
    x = {"left": np.ones((1, 3, 4), "float32"), "right": np.ones((1, 5, 4), "float32")}
    values = graph.run(call_layer, [keras.ops.convert_to_tensor(v) for v in keras.tree.flatten(x)])
    np.testing.assert_allclose(values[id(graph.outputs[0])], model(x), rtol=1e-6)
    assert set(graph.calls[-1].kwargs) == {"value"}


def test_training_reaches_the_layers_that_take_it():
    start = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    graph = Graph(keras.Model(start, inner(start)))
    x = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(5.0, 2.0, (64, 4)).astype("float32"))
    means = [float(np.mean(graph.run(call_layer, [x], training=training)[id(graph.outputs[0])]))
             for training in (True, False)]
    assert abs(means[0]) < 1e-3 and means[1] > 1.0


def test_the_trunk_is_what_every_path_leads_through():
    start = keras.Input((4,))
    x = keras.layers.Dense(4, name="before")(start)
    x = keras.layers.Add(name="sum")([x, keras.layers.Dense(4, name="branch")(x)])
    graph = Graph(keras.Model(start, keras.layers.Dense(2, name="behind")(x)))
    assert [graph.producer(t).name for t in graph.trunk()] == ["before", "sum", "behind"]


def test_another_image_size():
    pixels = keras.Input((32, 32, 3))
    inner = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, 2, padding="same")])
    graph = Graph(keras.Model(pixels, inner(pixels)), image_size=100)
    assert graph.outputs[0].shape == (None, 50, 50, 2)


def test_layers_are_found_in_layers_and_each_once():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(2, name="part0"), {"deep": keras.layers.Dense(2, name="part1")}]

    block, shared = Block(), keras.layers.Dense(4, name="shared")
    model = keras.Sequential([keras.Input((4,)), shared, keras.Sequential([keras.Input((4,)), shared])])
    assert [layer.name for layer in every_layer(model)].count("shared") == 1
    assert {layer.name for layer in every_layer(block)} == {"part0", "part1"}


@pytest.mark.parametrize("wrong, words", [
    (3, "built functional"), (keras.Sequential([keras.layers.Dense(2)]), "is not built")], ids=["number", "not built"])
def test_what_is_no_graph(wrong, words):
    with pytest.raises(UserError, match=words):
        Graph(wrong)


def test_a_functional_model_with_a_call_of_its_own_is_subclassed():
    class Own(keras.Model):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    start = keras.Input((4,))
    with pytest.raises(UserError, match="subclassed model"):
        Graph(Own(start, keras.layers.Dense(2)(start)))
