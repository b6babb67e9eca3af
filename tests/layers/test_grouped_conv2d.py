"""GroupedConv2D equals Keras' layer and is computed in another way."""

import keras
import numpy as np
import pytest

import keras_tricks as kt


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "same"}, {"dilation_rate": 2}])
def test_equals_keras(options):
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 6)).astype("float32")
    ours, theirs = (cls(4, 3, groups=2, **options) for cls in (kt.layers.GroupedConv2D, keras.layers.Conv2D))
    for layer in (ours, theirs):
        layer.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


def test_keras_still_compiles_groups():
    """The reason for the layer. Fails when Keras stops compiling grouped convolutions with XLA."""
    tf = pytest.importorskip("tensorflow")

    def compiled_functions(cls):
        layer = cls(4, 3, groups=2)
        layer.build((1, 5, 5, 6))
        graph = tf.function(layer).get_concrete_function(tf.TensorSpec((1, 5, 5, 6))).graph
        return [op for op in graph.get_operations() if op.type in ("PartitionedCall", "StatefulPartitionedCall")]

    assert compiled_functions(keras.layers.Conv2D) and not compiled_functions(kt.layers.GroupedConv2D)
