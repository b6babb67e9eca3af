"""N replicas train like one device: every trick on 2 and 4 mirrored CPU devices, compared with one."""

import functools

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from support import replicas  # noqa: E402

import keras_tricks as kt  # noqa: E402
from keras_tricks import distribution  # noqa: E402


@functools.cache
def mirrored(count):
    distribution.apply_patches()
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    return distribution.mirrored(devices[:count])


@functools.cache
def on_one_device(name):
    return replicas.train(replicas.CASES[name])


FAST_ON_FOUR = {"agc_accumulation", "loss_scale_agc_float16", "sync_bn"}
ON_FOUR = [pytest.param(4, name, marks=() if name in FAST_ON_FOUR else pytest.mark.slow) for name in replicas.CASES]


SLOW_ON_TWO = {"resnet_rs", "nf_resnet_agc"}  # whole networks; their layers and optimizers have separate cases
ON_TWO = [pytest.param(2, name, marks=pytest.mark.slow if name in SLOW_ON_TWO else ()) for name in replicas.CASES]


@pytest.mark.parametrize("count, name", [*ON_TWO, *ON_FOUR])
def test_replicas_equal_one_device(count, name):
    case = replicas.CASES[name]
    one, several = on_one_device(name), replicas.train(case, mirrored(count))
    assert np.all(np.isfinite(one)) and len(one) > 100
    assert replicas.difference(one, several) <= case.tolerance


def test_keras_own_clipping_does_differ():
    """The reason for the wrapper: Keras clips the gradient of each replica. Fails when Keras fixes this."""
    case = replicas.Case(lambda: replicas.keras_sgd(global_clipnorm=0.05))
    assert replicas.difference(replicas.train(case), replicas.train(case, mirrored(2))) > 1e-3


@pytest.mark.parametrize("accumulation", [False, True])
def test_one_sum_over_replicas_in_a_step(accumulation, monkeypatch):
    """Of the gradients, however deep the nesting: counted while the train step is traced."""
    strategy, sums = mirrored(2), []
    original = tf.distribute.StrategyExtended.batch_reduce_to

    def counted(self, reduce_op, pairs, *arguments, **options):
        sums.append(len(pairs))
        return original(self, reduce_op, pairs, *arguments, **options)

    monkeypatch.setattr(tf.distribute.StrategyExtended, "batch_reduce_to", counted)
    with strategy.scope():
        model = replicas.network()
        inner = kt.optimizers.AGC(replicas.sgd())
        inner = kt.optimizers.GradientAccumulation(inner, 2) if accumulation else inner
        model.compile(kt.optimizers.LossScale(inner), "categorical_crossentropy", jit_compile=False)
        step = tf.function(lambda x, y: strategy.run(model.train_step, ((x, y),)))
        images, labels = next(iter(replicas.batches()))
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
            model(images[:1])
        step.get_concrete_function(images, labels)
    assert sums == [len(model.trainable_variables)]


class TestOverflow:
    """An infinite gradient on any one of four replicas."""

    @pytest.fixture(autouse=True)
    def float16(self):
        keras.config.set_dtype_policy("mixed_float16")

    def model(self, optimizer, count=4):
        keras.utils.set_random_seed(1)
        with mirrored(count).scope():
            model = replicas.network()
            model.compile(optimizer(), kt.losses.LabelSmoothingCrossentropy(0.0, from_logits=True), jit_compile=False)
        return model

    def bad_batch(self, replica, count=4):
        images, labels = next(iter(replicas.batches()))
        images = images.numpy()
        images[replica * replicas.BATCH // count] = np.inf
        return tf.data.Dataset.from_tensors((images, labels))

    @pytest.mark.parametrize("replica", [0, pytest.param(1, marks=pytest.mark.slow),
                                         pytest.param(2, marks=pytest.mark.slow), 3])
    def test_changes_no_weight_and_halves_the_scale(self, replica, caplog):
        model = self.model(lambda: kt.optimizers.LossScale(kt.optimizers.AGC(replicas.sgd())))
        model.fit(replicas.batches(steps=2), verbose=0, shuffle=False)
        before = [v.numpy().copy() for v in [*model.trainable_variables, *model.optimizer.inner_optimizer.variables]]
        scale = model.optimizer.dynamic_scale.numpy()
        watch = kt.callbacks.OverflowLog()
        watch.scale = float(scale)
        with caplog.at_level("WARNING", logger="absl"):
            model.fit(self.bad_batch(replica), verbose=0, shuffle=False, callbacks=[watch])
        after = [v.numpy() for v in [*model.trainable_variables, *model.optimizer.inner_optimizer.variables]]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert model.optimizer.dynamic_scale.numpy() == scale / 2
        lines = [r.getMessage() for r in caplog.records if "overflow" in r.getMessage()]
        assert len(lines) == 1 and f"{scale:g} -> {scale / 2:g}" in lines[0]

    @pytest.mark.parametrize("replica, finite", [(0, True), (1, False)])
    def test_keras_own_loss_scale_looks_at_the_first_replica_only(self, replica, finite):
        """The reason for our wrapper: an overflow on replica 1 changes the weights. Fails when Keras fixes this."""
        model = self.model(lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)), count=2)
        model.fit(replicas.batches(steps=2), verbose=0, shuffle=False)
        model.fit(self.bad_batch(replica, 2), verbose=0, shuffle=False)
        assert all(np.isfinite(v.numpy()).all() for v in model.trainable_variables) == finite

    @pytest.mark.parametrize("replica", range(2))
    def test_plain_agc_is_safe_inside_keras_own_loss_scale(self, replica):
        """`compile(AGC(...))` under mixed_float16: Keras wraps it in an optimizer that checks replica 0 only."""
        model = self.model(lambda: kt.optimizers.AGC(replicas.sgd()), count=2)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        with pytest.warns(UserWarning, match="kt.optimizers.LossScale"):
            model.fit(replicas.batches(steps=2), verbose=0, shuffle=False)
        agc = model.optimizer.inner_optimizer
        before = [v.numpy().copy() for v in [*model.trainable_variables, *agc.variables]]
        model.fit(self.bad_batch(replica, 2), verbose=0, shuffle=False)
        after = [v.numpy() for v in [*model.trainable_variables, *agc.variables]]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_thousand_steps_with_random_overflows_lose_nothing():
    """The weights equal those of a run without the overflowing steps."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(1000, 3)).astype("float32")
    overflows = rng.random(1000) < 0.1

    def run(optimizer, scaled):
        weight = keras.Variable(np.ones(3, "float32"))
        optimizer.build([weight])

        @tf.function
        def step(gradient):
            optimizer.apply([gradient * optimizer.dynamic_scale if scaled else gradient], [weight])

        for gradient, overflow in zip(gradients, overflows, strict=True):
            if overflow and scaled:
                step(tf.constant([np.inf, 1.0, 1.0]))
            if not overflow:
                step(tf.constant(gradient))
        return weight.numpy(), int(optimizer.iterations.numpy())

    make = lambda: kt.optimizers.SGD(0.01, momentum=0.9)  # noqa: E731
    scaled, updates = run(kt.optimizers.LossScale(make(), initial_scale=2.0**100), scaled=True)
    plain, expected = run(make(), scaled=False)
    assert updates == expected == int((~overflows).sum())
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)


@pytest.mark.parametrize("layer, rate", [(keras.layers.Dropout, 0.3), (kt.layers.DropPath, 0.3)])
def test_random_layers_differ_by_replica_and_repeat_by_seed(layer, rate):
    strategy = mirrored(2)

    def masks():
        keras.utils.set_random_seed(5)
        with strategy.scope():
            drop = layer(rate, seed=3)
        shape = (500, 8)

        @tf.function
        def draw():
            return strategy.run(lambda: drop(tf.ones(shape), training=True))

        return [m.numpy() for m in strategy.experimental_local_results(draw())]

    first, second = masks()
    assert not np.array_equal(first, second)
    kept = np.mean([first > 0, second > 0])
    per_unit = 500 if layer is kt.layers.DropPath else 4000
    assert abs(kept - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / (2 * per_unit))
    again = masks()
    assert np.array_equal(first, again[0]) and np.array_equal(second, again[1])


def test_a_wrapper_that_acts_after_updates_trains_as_one_device():
    """With accumulation inside: whether there was an update is decided for all replicas together."""
    case = replicas.Case(lambda: kt.optimizers.Lookahead(kt.optimizers.GradientAccumulation(replicas.sgd(), 2), 2))
    one, several = replicas.train(case), replicas.train(case, mirrored(2))
    plain = replicas.train(replicas.Case(lambda: kt.optimizers.GradientAccumulation(replicas.sgd(), 2)))
    assert replicas.difference(one, several) <= case.tolerance < replicas.difference(one, plain)
