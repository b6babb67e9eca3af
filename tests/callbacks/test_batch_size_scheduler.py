"""`BatchSizeScheduler` on TensorFlow: runs of full length, data sets of the user, replicas. Tests for every backend are
in `contracts/test_batch_size_scheduler.py`."""

import time
import warnings

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras_tricks as kt  # noqa: E402
from keras_tricks import distribution  # noqa: E402
from keras_tricks.callbacks import BatchSizeScheduler  # noqa: E402
from keras_tricks.recipe import load_recipe  # noqa: E402
from keras_tricks.training import plan_of_recipe as plan_of  # noqa: E402
from keras_tricks.utils.errors import UserError  # noqa: E402

EXAMPLES, EPOCHS, STEPS = 50, 6, (12, 12, 6, 6, 3, 3)  # batches of 4, 8 and 16 for two epochs each
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(EXAMPLES, 5)).astype("float32"), RNG.normal(size=(EXAMPLES, 1)).astype("float32")


def growing(**changes):
    return BatchSizeScheduler.instead_of_decay(**{
        "learning_rate": 0.05, "batch_size": 4, "factor": 2, "milestones": (2, 4), "epochs": EPOCHS,
        "dataset_size": EXAMPLES, "max_batch_size": 16, **changes})


class Counted:
    """Counts how often the train step is traced, which is when Python runs it."""

    traces = 0

    def train_step(self, data):
        self.traces += 1
        return super().train_step(data)


class CountedSequential(Counted, keras.Sequential):
    pass


class CountedModel(Counted, keras.Model):
    pass


def network(optimizer=None, norm=()):
    keras.utils.set_random_seed(3)
    model = CountedSequential([keras.Input((5,)), keras.layers.Dense(4, "tanh"), *norm, keras.layers.Dense(1)])
    model.compile(optimizer or kt.optimizers.SGD(9.0, momentum=0.9), "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # TensorFlow traces once more when variables are created
    return model


def number(value):
    """A variable, mirrored or not, as an integer."""
    return int(keras.ops.convert_to_numpy(value))


def numbers(variables):
    vector = np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in variables])
    assert np.isfinite(vector).all()
    return vector


def state(model):
    return numbers([*model.variables, *model.optimizer.variables])


# ---- runs of full length: updates counted by the optimizer

FULL = {
    "cifar10_increased_momentum": (50_000, 2_160),
    "cifar10_decay": (50_000, 78_000),
    "cifar10_hybrid": (50_000, 34_320),
    "cifar10_increase_batch": (50_000, 29_040),
    "cifar10_increased_learning_rate": (50_000, 6_300),
    "cifar10_small_decay": (10_000, 9_360),
    "cifar10_small_increase_batch": (10_000, 3_860),
    "cifar10_small_hybrid": (10_000, 4_360),
    "inception_resnet_v2_decay": (1_281_167, 14_040),
    "inception_resnet_v2_grow_once": (1_281_167, 5_580),
    "inception_resnet_v2_momentum_0_9": (1_281_167, 5_820),
    "inception_resnet_v2_momentum_0_95": (1_281_167, 3_480),
    "inception_resnet_v2_momentum_0_975": (1_281_167, 2_310),
    "resnet50_8192_to_16384": (1_281_167, 9_360),
}


class Updates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.after = []

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(number(self.model.optimizer.iterations))


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_a_run_of_full_length_does_the_updates_of_the_paper(name):
    """All examples (one number each), all epochs and the plan of the recipe, with whole batches on one device."""
    examples, expected = FULL[name]
    recipe = load_recipe(f"dont_decay/{name}").replace(train={"max_batch_per_replica": None})
    scheduler = BatchSizeScheduler(plan_of(recipe, examples, 1))
    inputs = keras.Input((), dtype="float32")
    model = CountedModel(inputs, keras.layers.Dense(1)(keras.layers.Reshape((1,))(inputs)))
    model.compile(keras.optimizers.SGD(0.0), lambda y, p: 0.0 * p, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    data = scheduler.batch(tf.data.Dataset.range(examples, output_type=tf.int32)).map(lambda i: (i, i))
    updates = Updates()
    model.fit(data, epochs=recipe.schedule.epochs, callbacks=[scheduler, updates], verbose=0)
    assert number(model.optimizer.iterations) == expected
    assert updates.after == [scheduler.plan.updates_before(e + 1) for e in range(recipe.schedule.epochs)]
    assert model.traces == 1


# ---- data sets of the user


def recorded(batches, seen):
    """The same batches; those that are read are recorded in `seen`."""
    spec = tf.nest.flatten(batches.element_spec)[0]

    def note(*batch):
        first = tf.nest.flatten(batch)[0]
        kept = tf.numpy_function(lambda x: (seen.append(x), x)[1], [first], spec.dtype)
        return (tf.ensure_shape(kept, spec.shape), *batch[1:])

    return batches.map(note)


def epochs_of(scheduler, examples, **options):
    """The first component of every batch of a real `fit`, a list of arrays for each epoch."""
    seen = []
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    model.fit(recorded(scheduler.batch(examples), seen), epochs=EPOCHS, callbacks=[scheduler], verbose=0, **options)
    assert number(model.optimizer.iterations) == len(seen)
    batches = iter(seen)
    return [[next(batches).ravel() for _ in range(steps)] for steps in STEPS[options.get("initial_epoch", 0) :]]


def indices():
    return np.arange(EXAMPLES, dtype="float32")[:, None]


@pytest.mark.parametrize("known", [True, False], ids=["known length", "unknown length"])
def test_a_shuffled_data_set_is_shuffled_anew_in_every_epoch(known):
    data = tf.data.Dataset.from_tensor_slices((indices(), indices()))
    data = data.shuffle(EXAMPLES, seed=5, reshuffle_each_iteration=True)
    epochs = epochs_of(growing(), data if known else data.filter(lambda x, y: True))
    for batches, steps, size in zip(epochs, STEPS, (4, 4, 8, 8, 16, 16), strict=True):
        assert [len(batch) for batch in batches] == [size] * steps
        once = np.concatenate(batches)
        assert len(set(once)) == len(once) and set(once) <= set(range(EXAMPLES))
    assert len({tuple(np.concatenate(batches)) for batches in epochs}) == EPOCHS


def test_a_data_set_in_order_starts_from_its_first_example_in_every_epoch():
    data = tf.data.Dataset.from_tensor_slices((indices(), indices()))
    for batches, steps, size in zip(epochs_of(growing(), data), STEPS, (4, 4, 8, 8, 16, 16), strict=True):
        np.testing.assert_array_equal(np.concatenate(batches), np.arange(steps * size))


def test_arrays_come_in_an_order_of_seed_and_epoch():
    """Also when a run resumes within a phase."""
    epochs = epochs_of(growing(), (indices(), indices()))
    again = epochs_of(growing(), (indices(), indices()), initial_epoch=3)
    for whole, part in zip(epochs[3:], again, strict=True):
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one, other)
    for batches in epochs:
        once = np.concatenate(batches)
        assert len(set(once)) == len(once)
    assert len({tuple(np.concatenate(batches)) for batches in epochs}) == EPOCHS


def test_nothing_is_read_beyond_the_last_batch_of_an_epoch():
    """An epoch reads only its own batches: those of the next epoch are not started with the old size."""
    seen = []
    data = tf.data.Dataset.from_tensor_slices((indices(), indices()))
    scheduler = growing()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    model.fit(recorded(scheduler.batch(data), seen), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    assert [len(batch) for batch in seen] == [4] * 24 + [8] * 12 + [16] * 6


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_batches_of_one_phase_have_a_static_shape_and_a_known_number(phase):
    scheduler = growing(max_batch_per_replica=8)
    phase = scheduler.plan[phase]
    for examples in (tf.data.Dataset.from_tensor_slices((X, Y)), (X, Y)):
        batches = scheduler.batch(examples, phase)
        assert batches.element_spec[0].shape == (phase.step_size, 5)
        assert int(batches.cardinality()) == phase.steps_per_epoch == len(list(batches))


def test_fitting_phase_by_phase_gives_the_same_bits_from_a_data_set():
    data = tf.data.Dataset.from_tensor_slices((X, Y))
    scheduler, one = growing(), network()
    one.fit(scheduler.batch(data), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    scheduler, several = growing(), network()
    for phase in scheduler.plan:
        several.fit(scheduler.batch(data, phase), initial_epoch=phase.epochs.start, epochs=phase.epochs.stop,
                    callbacks=[scheduler], verbose=0)
    np.testing.assert_array_equal(state(one), state(several))
    assert one.traces == 1 and several.traces <= 3


@pytest.mark.slow
def test_xla_compiles_once_for_each_shape():
    scheduler, model = growing(), network()
    model.compile(kt.optimizers.SGD(9.0, momentum=0.9), "mse", jit_compile=True)
    model.fit(scheduler.batch((X, Y)), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    assert model.traces <= 3 and number(model.optimizer.iterations) == 42
    plain, scheduler = network(), growing()
    plain.fit(scheduler.batch((X, Y)), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    np.testing.assert_allclose(numbers(model.variables), numbers(plain.variables), rtol=1e-5, atol=1e-6)


def test_keras_makes_no_bar_of_its_own_beside_it():
    scheduler = growing()
    arguments = dict(add_history=True, add_progbar=True, model=network(), verbose=1, epochs=EPOCHS, steps=None)
    callbacks = keras.callbacks.CallbackList([scheduler], **arguments).callbacks
    assert [c for c in callbacks if isinstance(c, keras.callbacks.ProgbarLogger)] == [scheduler]


def test_warnings_are_heard_again_after_training_that_was_interrupted():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    before, scheduler = list(warnings.filters), growing()
    with pytest.raises(KeyboardInterrupt):
        network().fit(scheduler.batch((X, Y)), epochs=EPOCHS, callbacks=[scheduler, Interrupt()], verbose=0)
    assert warnings.filters == before


@pytest.mark.slow
def test_arrays_may_be_larger_than_a_graph():
    """2.2 GB: a graph that contains the arrays cannot be larger than 2 GB."""
    scheduler = growing(dataset_size=550_000)
    batches = scheduler.batch(np.zeros((550_000, 1000), "float32"))
    assert next(iter(batches)).shape == (4, 1000)


@pytest.mark.slow
def test_arrays_cost_little_more_than_slices_of_them():
    """CPU time of one epoch. Shuffling and gathering examples one by one costs seventy times as much."""
    def seconds(batches):
        started = time.process_time()
        for _ in batches:
            pass
        return time.process_time() - started

    numbers = np.zeros((50_000, 1), "float32")
    scheduler = growing(dataset_size=50_000, batch_size=128, max_batch_size=512)
    slices = seconds(scheduler.batch(tf.data.Dataset.from_tensor_slices(numbers)))
    assert seconds(scheduler.batch(numbers)) < 10 * slices + 0.5


# ---- replicas


def mirrored(count=2):
    distribution.apply_patches()
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    return distribution.mirrored(devices[:count])


class TestReplicas:
    """Two mirrored CPU devices against one."""

    def train(self, strategy=None, optimizer=None, ghost=False, **changes):
        scope = (strategy or tf.distribute.get_strategy()).scope
        with scope():
            scheduler = growing(**changes)
            norm = [kt.layers.GhostBatchNormalization(4)] if ghost else []
            model = network(optimizer and optimizer(), norm)
            batches = scheduler.batch((X, Y))
        model.fit(batches, epochs=EPOCHS, callbacks=[scheduler], verbose=0)
        assert scheduler.plan.replicas == (strategy.num_replicas_in_sync if strategy else 1)
        assert number(model.optimizer.iterations) == scheduler.plan.updates and model.traces <= 2 * 3
        return model

    def compare(self, one, two):
        one, two = numbers(one.variables), numbers(two.variables)
        assert np.abs(one - two).max() <= 1e-5 * np.abs(one).max()

    def test_train_as_one_device(self):
        self.compare(self.train(), self.train(mirrored()))

    def test_train_as_one_device_with_ghost_batch_normalization(self):
        """Groups of 4 on each replica are those of one device. (Keras keeps the first replica's moving statistics.)"""
        changes = dict(ghost=True, batch_size=8, max_batch_size=16, learning_rate=0.1)
        one, two = self.train(**changes), self.train(mirrored(), **changes)
        one, two = numbers(one.trainable_variables), numbers(two.trainable_variables)
        assert np.abs(one - two).max() <= 1e-5 * np.abs(one).max()

    def test_train_as_one_device_with_accumulation(self):
        optimizer = lambda: kt.optimizers.GradientAccumulation(kt.optimizers.SGD(9.0, momentum=0.9), 1)  # noqa: E731
        two = self.train(mirrored(), optimizer, max_batch_per_replica=4)
        self.compare(self.train(), two)

    def test_a_plan_for_another_number_of_replicas_is_refused(self):
        with mirrored().scope():
            model = network()
        scheduler = growing(replicas=1)
        with pytest.raises(UserError, match="for 1 replicas but the model has 2.*replicas=2.*strategy.scope"):
            model.fit(scheduler.batch((X, Y)), epochs=EPOCHS, callbacks=[scheduler], verbose=0)

    def test_a_batch_that_cannot_be_divided_among_them(self):
        with mirrored(3).scope(), pytest.raises(UserError, match="A batch of 4 images.*3 replicas.*multiple of 3"):
            growing()


# ---- errors


def of_unknown_length(count, shape=(5,)):
    def examples():
        for _ in range(count):
            yield np.zeros(shape, "float32"), np.zeros(1, "float32")

    specs = tf.TensorSpec(shape, tf.float32), tf.TensorSpec((1,), tf.float32)
    return tf.data.Dataset.from_generator(examples, output_signature=specs)


def slices(count=EXAMPLES):
    return tf.data.Dataset.from_tensor_slices((np.zeros((count, 5), "float32"), np.zeros((count, 1), "float32")))


@pytest.mark.parametrize("examples, words", [
    (lambda: slices(49), "has 49 elements, but the plan is for dataset_size=50"),
    (lambda: slices(51), "has 51 elements, but the plan is for dataset_size=50"),
    (lambda: slices().batch(4), "has 13 elements.*already batched.*single examples"),
    (lambda: slices().batch(4, drop_remainder=True), "has 12 elements.*already batched.*single examples"),
    (lambda: slices().filter(lambda x, y: True).batch(4), "already batched.*single examples"),
    (lambda: slices().repeat(), r"is infinite.*without `.repeat\(\)`"),
], ids=["fewer", "more", "batched", "batched evenly", "batched, unknown length", "endless"])
def test_a_data_set_that_is_not_one_epoch_of_examples(examples, words):
    with pytest.raises(UserError, match=words):
        growing().batch(examples())


def test_examples_of_unknown_shape_are_taken():
    """A generator without shapes has an unknown rank."""
    data = of_unknown_length(EXAMPLES)
    shapeless = data.map(lambda x, y: tuple(tf.numpy_function(lambda a, b: (a, b), [x, y], [tf.float32] * 2)))
    scheduler = growing()
    shaped = lambda x, y: (tf.ensure_shape(x, (None, 5)), tf.ensure_shape(y, (None, 1)))  # noqa: E731
    batches = scheduler.batch(shapeless).map(shaped)
    model = network()
    model.fit(batches, epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    assert number(model.optimizer.iterations) == 42


@pytest.mark.parametrize("count, steps", [(47, 11), (15, 3), (0, 0)])
def test_a_generator_with_fewer_examples_than_declared(count, steps):
    scheduler, model = growing(), network()
    with pytest.raises(UserError) as error:
        model.fit(scheduler.batch(of_unknown_length(count)), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    assert f"Epoch 1 ended after {steps} of 12 batches of 4 images" in str(error.value)
    assert "fewer than the 50 examples" in str(error.value)


def test_a_generator_with_as_many_examples_as_declared():
    scheduler, model = growing(), network()
    model.fit(scheduler.batch(of_unknown_length(EXAMPLES)), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    assert number(model.optimizer.iterations) == 42
