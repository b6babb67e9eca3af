import keras
import pytest

from keras_tricks.optimizers import no_decay
from keras_tricks.optimizers.no_decay import decay_table, is_exempt
from keras_tricks.utils.errors import UserError


def model():
    return keras.Sequential([
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.DepthwiseConv2D(3, use_bias=False),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(5),
    ])


def test_biases_and_norm_parameters_are_excluded():
    network = model()
    spared = no_decay(network, verbose=False)
    assert sorted(v.name for v in spared) == ["beta", "bias", "bias", "gamma"]
    decayed = [v for v in network.trainable_variables if not any(v is s for s in spared)]
    assert [v.name for v in decayed] == ["kernel", "kernel", "kernel"]
    assert not any(v is s for s in spared for v in network.non_trainable_variables)


def test_frozen_variables_are_not_listed():
    network = model()
    network.layers[0].trainable = False
    assert sorted(v.name for v in no_decay(network, verbose=False)) == ["beta", "bias", "gamma"]


def test_scalars_are_excluded_too():
    assert is_exempt(keras.Variable(0.0)) and is_exempt(keras.Variable([0.0, 1.0]))
    assert not is_exempt(keras.Variable([[0.0]]))


def test_the_table_counts_tensors_and_parameters(capsys):
    network = model()
    no_decay(network)
    table = capsys.readouterr().out
    assert table.rstrip() == decay_table(network)
    rows = [line.split() for line in table.splitlines()]
    kernels = 3 * 3 * 3 * 4 + 3 * 3 * 4 + 4 * 5
    assert ["kernel", "yes", "3", str(kernels)] in rows
    assert ["bias", "no", "2", "9"] in rows and ["gamma", "no", "1", "4"] in rows and ["beta", "no", "1", "4"] in rows
    assert len(rows) == 5


def test_it_serves_keras_own_optimizers():
    network = model()
    optimizer = keras.optimizers.AdamW(learning_rate=0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=no_decay(network, verbose=False))
    before = [keras.ops.convert_to_numpy(v) for v in network.trainable_variables]
    optimizer.apply([keras.ops.zeros(v.shape) for v in network.trainable_variables], network.trainable_variables)
    for old, v in zip(before, network.trainable_variables, strict=True):
        changed = (keras.ops.convert_to_numpy(v) != old).any()
        assert changed == (v.name == "kernel")


def test_models_inside_models_and_shared_layers_are_listed_once():
    inner, start = model(), keras.Input((8, 8, 3))
    twice = keras.Model(start, keras.layers.Add()([inner(start), inner(keras.layers.Rescaling(2.0)(start))]))
    assert [v.path for v in no_decay(twice, verbose=False)] == [v.path for v in no_decay(inner, verbose=False)]


def test_a_model_that_is_not_built_has_no_variables_to_list():
    with pytest.raises(UserError, match="is not built"):
        no_decay(keras.Sequential([keras.layers.Dense(2)]))
