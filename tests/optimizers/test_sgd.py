import json
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks.optimizers import SGD

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch_sgd.json").read_text())
cases = pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda c: f"m{c['momentum']}-{'nesterov' * c['nesterov']}-wd{c['weight_decay']}"
)


def run(optimizer):
    """{number of updates done: weights} on the gradients and rates of the golden file."""
    weights = [keras.Variable(np.array(w, "float32")) for w in GOLDEN["start"]]
    gradients = [np.array(g, "float32") for g in GOLDEN["gradients"]]
    optimizer.build(weights)
    found = {}
    for step, rate in enumerate(GOLDEN["learning_rate"]):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(g[step]) for g in gradients], weights)
        found[str(step + 1)] = [keras.ops.convert_to_numpy(w) for w in weights]
    return found


def arguments(case):
    return {key: case[key] for key in ("momentum", "nesterov", "weight_decay")}


@cases
def test_equals_torch_over_50_updates_of_a_changing_rate(case):
    ours = run(SGD(0.0, **arguments(case)))
    assert sorted(map(int, case["weights_after"])) == [1, 10, 30, 31, 50]
    for step, expected in case["weights_after"].items():
        for w, e in zip(ours[step], expected, strict=True):
            np.testing.assert_allclose(w, np.array(e), rtol=1e-6, atol=1e-6)


def test_keras_own_sgd_ends_elsewhere():
    case = next(c for c in GOLDEN["cases"] if c["nesterov"] and c["weight_decay"])
    theirs = run(keras.optimizers.SGD(0.0, **arguments(case)))["50"]
    differences = [np.abs(w - np.array(e)).max() for w, e in zip(theirs, case["weights_after"]["50"], strict=True)]
    assert max(differences) > 1e-2


def variables():
    """A kernel, a bias and a scalar gain, all ones."""
    return [keras.Variable(np.ones(shape, "float32"), name=name) for name, shape in
            (("kernel", (2, 3)), ("bias", (3,)), ("gain", ()))]


def decayed(optimizer, wanted, scale=1.0):
    """One update without gradient at rate 1 and decay 0.1: decayed weights become 0.9."""
    vs = variables()
    optimizer.build(vs)
    optimizer.apply([keras.ops.zeros(v.shape) for v in vs], vs)
    values = [float(keras.ops.mean(v)) for v in vs]
    assert values == pytest.approx([0.9 if w else 1.0 for w in wanted], abs=1e-6)


def sgd(**kwargs):
    return SGD(1.0, momentum=0.0, nesterov=False, weight_decay=0.1, **kwargs)


def test_everything_decays_unless_excluded():
    decayed(sgd(), [True, True, True])
    decayed(sgd(no_bias_decay=True), [True, False, False])


def test_exclude_by_name_and_by_variable():
    by_name = sgd()
    by_name.exclude_from_weight_decay(var_names=["gai"])
    decayed(by_name, [True, True, False])
    vs, by_variable = variables(), sgd(no_bias_decay=True)
    by_variable.exclude_from_weight_decay(var_list=[vs[0]])
    by_variable.build(vs)
    by_variable.apply([keras.ops.zeros(v.shape) for v in vs], vs)
    assert all(float(keras.ops.mean(v)) == 1.0 for v in vs)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        by_variable.exclude_from_weight_decay(var_names=["kernel"])


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras' own branches leak outside of fit on JAX")
def test_the_exemption_works_inside_a_loss_scale_optimizer():
    decayed(keras.optimizers.LossScaleOptimizer(sgd(no_bias_decay=True)), [True, False, False])


def test_the_exemption_works_in_fit():
    dense = keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones")
    model = keras.Sequential([keras.Input((2,)), dense])
    model.compile(keras.optimizers.LossScaleOptimizer(sgd(no_bias_decay=True)), lambda y, p: 0.0 * p)
    model.fit(np.ones((1, 2)), np.ones((1, 3)), verbose=0)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel, 0.9, rtol=1e-6)
    np.testing.assert_array_equal(bias, 1.0)


def test_two_optimizers_do_not_share_variables_and_order_does_not_matter():
    a, b, _ = variables()
    optimizer = SGD(0.1, momentum=0.9, nesterov=False)
    optimizer.build([a, b])
    for _ in range(2):  # the velocity of each variable, whatever the order it is passed in
        optimizer.apply([keras.ops.ones(b.shape), 2 * keras.ops.ones(a.shape)], [b, a])
    np.testing.assert_allclose(a, 1 - 0.1 * 2 * (1 + 1.9), rtol=1e-6)
    np.testing.assert_allclose(b, 1 - 0.1 * (1 + 1.9), rtol=1e-6)


def test_config_round_trip_and_saved_state(tmp_path):
    optimizer = SGD(0.2, 0.8, False, 0.01, True, name="mine")
    again = SGD.from_config(json.loads(json.dumps(optimizer.get_config())))
    for key, value in {"momentum": 0.8, "nesterov": False, "weight_decay": 0.01, "no_bias_decay": True}.items():
        assert again.get_config()[key] == value
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    x, y = np.eye(2, dtype="float32"), np.ones((2, 1), "float32")
    model.fit(x, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for m in (model, loaded):
        m.fit(x, y, epochs=2, verbose=0)
    for w, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(w, other)  # the velocity was saved


@pytest.mark.parametrize("bad", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1e-4}])
def test_bad_arguments_are_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}={value}"):
        SGD(0.1, **bad)
