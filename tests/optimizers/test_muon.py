"""Muon against its formula in float64 NumPy, which variables it updates, and LAMB and Muon in recipes."""

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.optimizers import Muon, orthogonalize
from keras_tricks.recipe import Recipe
from keras_tricks.run.build import build_optimizer
from keras_tricks.utils.errors import UserError

STEPS = 20
SHAPES = {"conv/kernel": (3, 3, 4, 8), "wide/kernel": (1, 1, 4, 16), "dense/kernel": (5, 3), "bias": (8,),
          "depthwise/kernel": (3, 3, 4, 1)}
RNG = np.random.default_rng(0)
START = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
GRADIENTS = [{name: RNG.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]


def newton_schulz(d, steps):
    x = d.T / np.linalg.norm(d) if d.shape[0] > d.shape[1] else d / np.linalg.norm(d)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.T if d.shape[0] > d.shape[1] else x


def by_numpy(rate=0.1, momentum=0.6, decay=0.01, other=0.85, vector=0.22, matrix=2.8, steps=3):
    weights = {name: w.copy() for name, w in START.items()}
    velocities = {name: np.zeros_like(w) for name, w in weights.items()}
    for gradients in GRADIENTS:
        for name, g in gradients.items():
            w = weights[name]
            if name in ("conv/kernel", "wide/kernel"):
                v = velocities[name] = momentum * velocities[name] + g
                filters = (g + momentum * v).reshape(-1, w.shape[-1]).T  # one row per filter
                update = newton_schulz(filters, steps).T.reshape(w.shape)
                weights[name] = w * np.sqrt(w.shape[-1]) / np.linalg.norm(w) - rate * update
            else:
                ratio = vector if w.ndim == 1 else matrix
                d = g + decay / ratio * w
                v = velocities[name] = other * velocities[name] + d
                weights[name] = w - rate * ratio * (d + other * v)
    return weights


def by_keras(optimizer):
    weights = {}
    for name, start in START.items():
        with keras.name_scope(name.split("/")[0]):
            weights[name] = keras.Variable(start.astype("float32"), name=name.rpartition("/")[2])
    variables = list(weights.values())
    optimizer.build(variables)
    for gradients in GRADIENTS:
        tensors = [keras.ops.convert_to_tensor(g.astype("float32")) for g in gradients.values()]
        if keras.backend.backend() == "tensorflow":
            optimizer.apply(tensors, variables)
            continue
        state = [keras.ops.convert_to_tensor(v) for v in optimizer.variables]
        new, state = optimizer.stateless_apply(state, tensors, [keras.ops.convert_to_tensor(v) for v in variables])
        for variable, value in zip([*variables, *optimizer.variables], [*new, *state], strict=True):
            variable.assign(value)
    return {name: keras.ops.convert_to_numpy(w) for name, w in weights.items()}


def test_equals_the_formula_over_20_updates():
    found, expected = by_keras(Muon(0.1, weight_decay=0.01, vector_ratio=0.22, matrix_ratio=2.8)), by_numpy()
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_singular_values_become_about_one():
    for shape in ((12, 5), (5, 12), (7, 7)):
        values = np.linalg.svd(keras.ops.convert_to_numpy(orthogonalize(RNG.normal(size=shape).astype("float32"))),
                               compute_uv=False)
        assert 0.6 < values.min() and values.max() < 1.3


def test_kernels_that_are_not_normalized_keep_their_norm_free():
    free = by_keras(Muon(1e-3, normalize_kernels=False))["conv/kernel"]
    assert abs(np.linalg.norm(free) / np.linalg.norm(START["conv/kernel"]) - 1) < 0.05
    assert np.linalg.norm(by_keras(Muon(1e-3))["conv/kernel"]) == pytest.approx(np.sqrt(8), rel=0.05)


def test_of_resnet_50_it_updates_all_convolutions():
    network = kt.models.create_model("resnet50", input_shape=(64, 64, 3), classes=10)
    optimizer = Muon()
    optimizer.build(network.trainable_variables)
    kernels = [v for v in network.trainable_variables if len(v.shape) == 4]
    assert sum(optimizer.filters) == len(kernels) == 53


@pytest.mark.parametrize("wrong", [{"vector_ratio": 0.0}, {"newton_schulz_steps": 0}, {"other_momentum": 1.0}], ids=str)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Muon(**wrong)


def test_recipes_set_muon_and_lamb():
    muon = build_optimizer(Recipe().override(["optimizer.name=muon", "optimizer.options.newton_schulz_steps=5"]))
    assert (type(muon), muon.newton_schulz_steps, muon.momentum) == (Muon, 5, 0.9)
    lamb = build_optimizer(Recipe().override(["optimizer.name=lamb", "optimizer.options.epsilon=1e-6",
                                              "optimizer.weight_decay=0.02"]))
    assert (type(lamb), lamb.epsilon, lamb.weight_decay) == (keras.optimizers.Lamb, 1e-6, 0.02)
    assert kt.optimizers.describe(muon).startswith("Muon, Nesterov momentum 0.9, weight decay 0.0001 (coupled)")
    with pytest.raises(UserError, match="`optimizer.options` of Lamb: .*epsilom"):
        build_optimizer(Recipe().override(["optimizer.name=lamb", "optimizer.options.epsilom=1"]))
