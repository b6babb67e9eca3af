"""The private parts of Keras that the package uses. If one of these tests fails, check `optimizers/wrapper.py`."""

import keras
import numpy as np
import pytest

from keras_tricks.optimizers.wrapper import variable_index


def variables(count=3):
    return [keras.Variable(np.full((2,), i, "float32"), name=f"v{i}") for i in range(count)]


def test_variable_index_of_the_variables_themselves():
    vs, optimizer = variables(), keras.optimizers.SGD(0.1)
    optimizer.build(vs)
    assert [variable_index(optimizer, v) for v in vs] == [0, 1, 2]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends pass the Keras variable itself")
def test_variable_index_of_what_update_step_receives():
    seen = []

    class Spy(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            seen.append((variable_index(self, variable), float(gradient[0])))

    vs, optimizer = variables(), Spy(0.1)
    optimizer.build(vs)
    optimizer.apply([keras.ops.full([2], 10.0 * i) for i in (2, 0, 1)], [vs[2], vs[0], vs[1]])
    assert sorted(seen) == [(0, 0.0), (1, 10.0), (2, 20.0)]


def test_an_unknown_variable_has_no_index():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables())
    with pytest.raises((KeyError, ValueError)):
        variable_index(optimizer, keras.Variable([0.0, 0.0]))


def test_the_private_names_are_still_there():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables())
    for name in ("_get_variable_index", "_variables", "_trainable_variables"):
        assert hasattr(optimizer, name), f"keras {keras.__version__} has no Optimizer.{name}"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's strategies only")
def test_keras_sums_gradients_over_replicas_in_the_method_we_replace():
    vs, optimizer, seen = variables(), keras.optimizers.SGD(0.1), []
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: seen.append(list(grads_and_vars)) or seen[-1]
    optimizer.apply([keras.ops.full([2], 1.0) for _ in vs], vs)
    assert len(seen) == 1 and len(seen[0]) == 3
    np.testing.assert_allclose(vs[1], 0.9, rtol=1e-6)
