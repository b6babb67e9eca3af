"""SAM against its formula in NumPy, on every backend, and in a recipe."""

import keras
import numpy as np
import pytest
from support.tiny_runs import NO_EXPORT, assert_same_end, tiny

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.recipe import Recipe
from keras_tricks.utils.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 5))
Y = np.eye(3)[RNG.integers(0, 3, 160)]
START = RNG.normal(size=(5, 3)), RNG.normal(size=3)
XLA = keras.backend.backend() != "tensorflow"


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gradient(weights, x, y):
    """Of the mean cross entropy of a linear model, in float64."""
    error = (softmax(x @ weights[0] + weights[1]) - y) / len(x)
    return [x.T @ error, error.sum(axis=0)]


def in_numpy(rho, stride, rate=0.5, momentum=0.9):
    """The weights after 20 steps on batches of 8: the formula of the paper, then SGD with momentum."""
    weights, buffers = [w.copy() for w in START], [0.0, 0.0]
    for start in range(0, 160, 8):
        x, y = X[start:start + 8], Y[start:start + 8]
        ascent = gradient(weights, x[::stride], y[::stride])
        norm = np.sqrt(sum((g**2).sum() for g in ascent))
        moved = [w + rho * g / norm for w, g in zip(weights, ascent, strict=True)]
        for i, g in enumerate(gradient(moved, x, y)):
            buffers[i] = momentum * buffers[i] + g
            weights[i] = weights[i] - rate * buffers[i]
    return weights


def network():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.set_weights(START)
    return model


def compiled(model=None, optimizer=None, **arguments):
    model = kt.optimizers.SharpnessAware(model or network(), **arguments)
    model.compile(optimizer or kt.optimizers.SGD(0.5, momentum=0.9, nesterov=False),
                  keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"], jit_compile=XLA)
    return model


@pytest.mark.parametrize("rho, stride", [(0.05, 1), (2.0, 1), (0.5, 4)])
def test_20_steps_equal_the_formula(rho, stride):
    model = compiled(rho=rho, stride=stride)
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    for found, expected in zip(model.inner_model.get_weights(), in_numpy(rho, stride), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    plain = in_numpy(1e-12, 1)
    assert np.abs(plain[0] - in_numpy(rho, stride)[0]).max() > 1e-3  # the formula has an effect


def test_the_norm_is_of_all_tensors_together():
    found = kt.optimizers.sharpness_perturbation([np.full((2, 2), 3.0, "float32"), np.full(7, -2.0, "float32")], 0.1)
    found = [keras.ops.convert_to_numpy(e) for e in found]
    assert np.sqrt(sum((e**2).sum() for e in found)) == pytest.approx(0.1)
    np.testing.assert_allclose(found[0] / 3, np.full((2, 2), 0.1 / 8), rtol=1e-6)
    none = kt.optimizers.sharpness_perturbation([np.zeros(3, "float32")])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(none[0]), np.zeros(3))


class Draw(keras.layers.Layer):
    """Adds the number drawn in this call to a sum, and has a moving mean."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)

    def build(self, shape):
        self.drawn = self.add_weight(shape=(), initializer="zeros", trainable=False, name="drawn")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x, training=False):
        if training:
            self.drawn.assign(self.drawn + keras.random.uniform((), seed=self.seed))
        return x * self.scale


def test_both_passes_use_the_same_random_numbers_and_one_counts():
    def drawn(model):
        model.fit(X[:16], Y[:16], batch_size=8, verbose=0, shuffle=False)
        layer = next(layer for layer in getattr(model, "inner_model", model).layers if isinstance(layer, Draw))
        return keras.ops.convert_to_numpy(layer.drawn)

    def network():
        return keras.Sequential([keras.Input((5,)), Draw(), keras.layers.Dense(3)])

    plain = network()
    plain.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
    assert drawn(compiled(network())) == drawn(plain) > 0


def test_frozen_weights_do_not_move_and_evaluation_is_that_of_the_model():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, trainable=False), keras.layers.Dense(3)])
    before = model.layers[0].get_weights()
    trainer = compiled(model)
    trainer.fit(X, Y, batch_size=8, verbose=0)
    for old, new in zip(before, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(trainer.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("arguments, message", [({"rho": 0}, "rho"), ({"rho": float("nan")}, "rho"),
                                                ({"stride": 0}, "stride"), ({"stride": 1.5}, "stride")])
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        kt.optimizers.SharpnessAware(network(), **arguments)


def test_accumulation_is_refused():
    inner = kt.optimizers.GradientAccumulation(kt.optimizers.SGD(0.1), 2)
    for optimizer in (inner, kt.optimizers.LossScale(inner), keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)):
        with pytest.raises(UserError, match="does not accumulate"):
            compiled(optimizer=optimizer)


@pytest.mark.parametrize("changes, message", [
    ({"optimizer": {"sam_rho": 0.05, "accumulation_steps": 2}}, "sam_rho.* does not accumulate"),
    ({"optimizer": {"sam_rho": 0.05}, "train": {"max_batch_per_replica": 8}}, "sam_rho.* does not accumulate"),
    ({"optimizer": {"sam_rho": 0.05, "sam_stride": 5}}, "sam_stride.* does not divide the .* images"),
    ({"optimizer": {"sam_rho": 0.05}, "loss": {"teacher": "resnet20d", "teacher_weights": "missing"}}, "teacher"),
    ({"optimizer": {"sam_rho": -1.0}}, "sam_rho"),
])
def test_a_recipe_that_does_not_fit(changes, message):
    pytest.importorskip("tensorflow")
    with pytest.raises(UserError, match=message):
        recipe = Recipe(data={"image_size": 8, "eval_crop": "whole"},
                        model={"name": "test_resnet", "options": {"stem": "cifar"}},
                        schedule={"batch_size": 64}).replace(**changes)
        training.prepare(recipe)


@pytest.mark.slow
def test_killed_and_resumed_is_uninterrupted(tmp_path, monkeypatch):
    """In the middle of an epoch, with dropout, batch statistics, AGC and an average of the weights."""
    pytest.importorskip("tensorflow")
    recipe = tiny(optimizer={"sam_rho": 0.1, "sam_stride": 2, "agc_clip_factor": 0.05, "ema_decay": 0.9},
                  schedule={"epochs": 1}, train={"checkpoint_steps": 3}, export=NO_EXPORT)
    whole = kt.train(recipe, tmp_path / "whole", verbose=0)
    on_batch = kt.callbacks.Checkpoint.on_train_batch_end

    def killed(self, batch, logs=None):
        on_batch(self, batch, logs)
        if self.position.images == 6 * 128 and self.position.epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(kt.callbacks.Checkpoint, "on_train_batch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        kt.train(recipe, tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(recipe, tmp_path / "killed", resume=True, verbose=0)
    assert_same_end(whole.folder, tmp_path / "killed")
    assert "resuming " in (tmp_path / "killed" / "log.txt").read_text()
