"""`BatchSizeScheduler` on every backend: TensorFlow, and JAX without TensorFlow installed.

Example i is the i-th row of the unit matrix and the loss is the mean of the outputs, so a plain gradient step moves
weight i by (learning rate / batch size) if example i is in the batch, and by 0 otherwise. The weights therefore show
which examples an update used, and the noise scale.
"""

import functools
import re

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.callbacks import BatchSizeScheduler
from keras_tricks.utils.errors import UserError

EXAMPLES, EPOCHS = 50, 6
PHASES = [(4, 12), (8, 6), (16, 3)]  # batch size and updates of two epochs each; 2, 2 and 2 examples are left out
X = np.eye(EXAMPLES, dtype="float32")
Y = np.zeros((EXAMPLES, 1), "float32")
XLA = keras.backend.backend() != "tensorflow"  # compiling these small steps costs TensorFlow more than it saves
NOISY = np.random.default_rng(0).normal(size=(EXAMPLES, 5)).astype("float32")


def growing(**changes):
    return BatchSizeScheduler.instead_of_decay(**{
        "learning_rate": 0.05, "batch_size": 4, "factor": 2, "milestones": (2, 4), "epochs": EPOCHS,
        "dataset_size": EXAMPLES, "max_batch_size": 16, **changes})


class Counted(keras.Sequential):
    """Counts how often the train step is traced, which is when Python runs it."""

    traces = 0

    def train_step(self, *arguments):
        self.traces += 1
        return super().train_step(*arguments)


def counter(optimizer=None):
    """The model of the module docstring."""
    layers = [keras.Input((EXAMPLES,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    model = Counted(layers)
    model.compile(optimizer or keras.optimizers.SGD(9.0), lambda y, p: p, jit_compile=XLA)
    return model


def network(optimizer=None):
    keras.utils.set_random_seed(3)
    model = Counted([keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer or kt.optimizers.SGD(9.0, momentum=0.9), "mse", jit_compile=XLA)
    model.optimizer.build(model.trainable_variables)  # TensorFlow traces once more when variables are created
    return model


def fit(scheduler, model=None, data=(NOISY, NOISY[:, :1]), callbacks=(), epochs=EPOCHS, **options):
    """Trains to the end of the plan. `callbacks` are called after the scheduler."""
    model = model or network()
    model.fit(scheduler.batch(data), epochs=epochs, callbacks=[scheduler, *callbacks], **{"verbose": 0, **options})
    return model


@functools.cache
def whole():
    """The model after one uninterrupted run."""
    return fit(growing())


def numbers(variables):
    vector = np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in variables])
    assert np.isfinite(vector).all()
    return vector


class Watch(keras.callbacks.Callback):
    """Records each epoch: batches, updates so far, weights before and after."""

    def __init__(self):
        super().__init__()
        self.batches, self.updates, self.moved = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = numbers(self.model.trainable_variables)
        self.batches.append([])

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1].append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.updates.append(int(self.model.optimizer.iterations))
        self.moved.append(self.before - numbers(self.model.trainable_variables))


def seen(scheduler, seed=0, shuffle=True, **options):
    """For each epoch, how often it used each example, calculated from the weights."""
    watch, model = Watch(), counter()
    model.fit(scheduler.batch((X, Y), seed=seed, shuffle=shuffle), epochs=EPOCHS, callbacks=[scheduler, watch],
              verbose=0, **options)
    start = EPOCHS - len(watch.moved)
    per_image = [scheduler.plan.rate(e) / scheduler.plan.phase(e).batch_size for e in range(start, EPOCHS)]
    return np.array(watch.moved) / np.array(per_image)[:, None]


# ---- examples


def test_an_epoch_sees_each_example_at_most_once_and_leaves_out_the_incomplete_batch():
    scheduler = growing()
    counts = seen(scheduler)
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    assert set(np.round(counts).ravel()) == {0, 1}
    expected = [batch * updates for batch, updates in PHASES for _ in range(2)]
    np.testing.assert_allclose(counts.sum(axis=1), expected, rtol=1e-5)


@pytest.mark.parametrize("mode", ["decay", "hybrid", "increase_batch"])
def test_a_run_moves_the_weights_as_much_per_example_as_the_decay(mode):
    """The actual eps / B, in every epoch of each mode and beyond a cap."""
    scheduler, watch = growing(mode=mode, max_batch_size=12), Watch()
    model = counter()
    model.fit(scheduler.batch((X, Y)), epochs=EPOCHS, callbacks=[scheduler, watch], verbose=0)
    for epoch, moved in enumerate(watch.moved):
        np.testing.assert_allclose(moved[moved > 1e-7], 0.05 / 4 * 0.5 ** (epoch // 2), rtol=1e-3)


def test_the_order_is_a_function_of_seed_and_epoch():
    """With a learning rate that increases at every update, a weight identifies the update of its example."""
    def order(seed=0, **options):
        watch, model, scheduler = Watch(), counter(), growing(warmup_epochs=EPOCHS, max_batch_size=16)
        batches = scheduler.batch((X, Y), seed=seed)
        model.fit(batches, epochs=EPOCHS, callbacks=[scheduler, watch], verbose=0, **options)
        return np.array(watch.moved)

    first, again, other = order(), order(), order(seed=1)
    np.testing.assert_array_equal(first, again)
    ranks = [tuple(np.argsort(moved, kind="stable")) for moved in [*first, *other]]
    assert len(set(ranks)) == 2 * EPOCHS
    resumed = order(initial_epoch=3)  # from other weights: equal to rounding
    np.testing.assert_allclose(resumed, first[3:], rtol=1e-3, atol=1e-7)


def test_without_shuffling_the_order_is_that_of_the_arrays():
    counts = seen(growing(), shuffle=False)
    for epoch, row in enumerate(np.round(counts)):
        batch, updates = PHASES[epoch // 2]
        np.testing.assert_array_equal(row, np.arange(EXAMPLES) < batch * updates)


def test_one_array_is_batched_too():
    class Mean(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred)

    model = Mean([keras.Input((EXAMPLES,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(9.0), jit_compile=XLA)
    scheduler = growing()
    model.fit(scheduler.batch(X), epochs=EPOCHS, callbacks=[scheduler], verbose=0)
    moved = sum(scheduler.plan.rate(e) * scheduler.plan.phase(e).updates_per_epoch for e in range(EPOCHS))
    assert -numbers(model.trainable_variables).sum() == pytest.approx(moved, rel=1e-4)


# ---- counting


def test_iterations_and_batches_are_exact_in_every_epoch():
    scheduler, watch = growing(), Watch()
    model = fit(scheduler, callbacks=[watch])
    assert watch.updates == [12, 24, 30, 36, 39, 42] == [scheduler.plan.updates_before(e + 1) for e in range(EPOCHS)]
    assert watch.batches == [list(range(n)) for n in (12, 12, 6, 6, 3, 3)]
    assert int(model.optimizer.iterations) == scheduler.plan.updates == 42


def test_a_callback_before_the_scheduler_gets_the_last_batch_too():
    scheduler, watch, model = growing(), Watch(), network()
    model.fit(scheduler.batch((NOISY, NOISY[:, :1])), epochs=EPOCHS, callbacks=[watch, scheduler], verbose=0)
    assert [len(batches) for batches in watch.batches] == [12, 12, 6, 6, 3, 3]


def test_one_trace_for_each_shape_at_most():
    model = fit(growing())
    assert model.traces == (1 if keras.backend.backend() == "tensorflow" else len(PHASES))
    scheduler = growing()
    fit(scheduler, model)  # the same shapes again
    assert model.traces <= len(PHASES) + 1


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_progress_bar_shows_the_steps_of_its_epoch(verbose, capsys):
    fit(growing(), verbose=verbose)
    _, *parts = re.split(r"Epoch (?=\d/6)", capsys.readouterr().out)
    assert len(parts) == EPOCHS
    for number, (part, steps) in enumerate(zip(parts, (12, 12, 6, 6, 3, 3), strict=True), start=1):
        shown = re.findall(r"(?<![\d.])(\d+)/(\d+)(?!\d)", part)
        assert shown[0] == (str(number), "6") and shown[-1] == (str(steps), str(steps))
        assert {target for _, target in shown[1:]} == {str(steps)}


def test_a_silent_fit_prints_nothing(capsys):
    fit(growing(), verbose=0)
    assert capsys.readouterr().out == ""


def test_the_history_has_batch_size_and_learning_rate():
    history = fit(growing(max_batch_size=12)).history.history
    assert history["batch_size"] == [4, 4, 8, 8, 12, 12]
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.05, 0.05, 0.05, 0.0375, 0.0375], rtol=1e-6)


def test_no_warning_about_data_that_run_out(recwarn):
    fit(growing())
    assert [str(w.message) for w in recwarn if "ran out of data" in str(w.message)] == []


# ---- equivalent ways to the same result


def state(model):
    return numbers([*model.variables, *model.optimizer.variables])


def test_fitting_phase_by_phase_gives_the_same_bits():
    scheduler, model = growing(), network()
    for phase in scheduler.plan:
        model.fit(scheduler.batch((NOISY, NOISY[:, :1]), phase), initial_epoch=phase.epochs.start,
                  epochs=phase.epochs.stop, callbacks=[scheduler], verbose=0)
    assert int(model.optimizer.iterations) == 42 and model.traces <= len(PHASES)
    np.testing.assert_array_equal(state(model), state(whole()))


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_a_run_continued_in_any_phase_ends_at_the_same_bits(epoch):
    begun = fit(growing(), epochs=epoch)
    fresh = network()
    for new, old in zip([*fresh.variables, *fresh.optimizer.variables], [*begun.variables, *begun.optimizer.variables],
                        strict=True):
        new.assign(keras.ops.convert_to_numpy(old))
    fit(growing(), fresh, initial_epoch=epoch)
    np.testing.assert_array_equal(state(fresh), state(whole()))


@pytest.mark.parametrize("limit, steps", [(4, [1, 2, 4]), (8, [1, 1, 2])])
def test_accumulation_equals_the_batch_that_really_grows(limit, steps):
    scheduler, watch = growing(max_batch_per_replica=limit), Watch()
    assert [phase.accumulation_steps for phase in scheduler.plan] == steps
    optimizer = kt.optimizers.GradientAccumulation(kt.optimizers.SGD(9.0, momentum=0.9), 1)
    split = fit(scheduler, network(optimizer), callbacks=[watch])
    np.testing.assert_allclose(
        numbers(split.trainable_variables), numbers(whole().trainable_variables), rtol=1e-6, atol=1e-6)
    assert watch.updates == [12, 24, 30, 36, 39, 42]
    assert [len(b) for b in watch.batches] == [n * s for n, s in zip((12, 6, 3), steps, strict=True) for _ in range(2)]
    assert split.traces <= len({phase.step_size for phase in scheduler.plan})


def test_accumulation_is_found_inside_a_loss_scale():
    optimizer = kt.optimizers.LossScale(
        kt.optimizers.GradientAccumulation(kt.optimizers.SGD(9.0, momentum=0.9), 1), initial_scale=2.0**4)
    model = fit(growing(max_batch_per_replica=4), network(optimizer))
    assert int(model.optimizer.iterations) == 42
    assert np.allclose(numbers(model.trainable_variables), numbers(whole().trainable_variables), atol=1e-5)


def test_the_rate_is_set_before_every_update():
    class Rates(keras.callbacks.Callback):
        rates = []

        def on_train_batch_end(self, batch, logs=None):
            self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    scheduler, rates = growing(warmup_epochs=1.5, max_batch_per_replica=8), Rates()
    optimizer = kt.optimizers.GradientAccumulation(keras.optimizers.SGD(9.0), 1)
    fit(scheduler, network(optimizer), callbacks=[rates])
    plan = scheduler.plan
    expected = [plan.rate(e, u) for e in range(EPOCHS) for u in range(plan.phase(e).updates_per_epoch)
                for _ in range(plan.phase(e).accumulation_steps)]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-6)
    assert len(set(rates.rates)) == 18  # the steps of the warmup


# ---- with other callbacks and validation


@pytest.mark.parametrize("before", [True, False])
def test_early_stopping_stops_on_either_side(before):
    class Worse(keras.callbacks.Callback):
        """Worsens the monitored value in the third epoch."""

        def on_epoch_end(self, epoch, logs=None):
            logs["worse"] = (3.0, 2.0, 5.0)[epoch]

    scheduler, watch, model = growing(), Watch(), network()
    stop = keras.callbacks.EarlyStopping("worse", patience=1, mode="min")
    order = [Worse(), stop, scheduler, watch] if before else [scheduler, Worse(), stop, watch]
    model.fit(scheduler.batch((NOISY, NOISY[:, :1])), epochs=EPOCHS, callbacks=order, verbose=0)
    assert len(watch.updates) == 3 and int(model.optimizer.iterations) == 30


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.moment = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.moment:
            self.model.stop_training = True


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("batch, updates", [(2, 27), (5, 30)], ids=["in the middle", "at the last batch"])
def test_a_callback_that_stops_in_an_epoch_stops_the_training(before, batch, updates):
    scheduler, model, stop = growing(), network(), StopAt(2, batch)
    order = [stop, scheduler] if before else [scheduler, stop]
    history = model.fit(scheduler.batch((NOISY, NOISY[:, :1])), epochs=EPOCHS, callbacks=order, verbose=0)
    assert int(model.optimizer.iterations) == updates and len(history.epoch) == 3
    assert model.stop_training is True


@pytest.mark.parametrize("before", [True, False])
def test_terminate_on_nan_stops(before):
    data = NOISY.copy()
    data[17] = np.nan
    scheduler, model, stop = growing(), network(), keras.callbacks.TerminateOnNaN()
    order = [stop, scheduler] if before else [scheduler, stop]
    history = model.fit(scheduler.batch((data, data[:, :1]), shuffle=False), epochs=EPOCHS, callbacks=order, verbose=0)
    assert int(model.optimizer.iterations) == 5 and len(history.epoch) == 1  # 17 is in the fifth batch of 4


def test_the_scheduler_continues_after_a_run_that_was_stopped():
    scheduler, model = growing(), network()
    fit(scheduler, model, callbacks=[StopAt(2, 2)])
    fit(scheduler, model, initial_epoch=3)
    assert int(model.optimizer.iterations) == 27 + 6 + 3 + 3


def test_validation_beside_it_changes_nothing_and_sees_all_its_batches():
    class Tested(keras.callbacks.Callback):
        batches = 0

        def on_test_batch_end(self, batch, logs=None):
            self.batches += 1

    tested = Tested()
    model = fit(growing(), callbacks=[tested], validation_data=(NOISY[:21], NOISY[:21, :1]), validation_batch_size=5)
    history = model.history.history
    assert tested.batches == 5 * EPOCHS and len(history["val_loss"]) == EPOCHS
    np.testing.assert_array_equal(state(model), state(whole()))
    assert model.evaluate(NOISY[:21], NOISY[:21, :1], verbose=0) == pytest.approx(history["val_loss"][-1], rel=1e-5)


# ---- errors


@pytest.mark.parametrize("changes, words", [
    ({"batch_size": 10, "factor": 1.25}, ["A batch of 10 grown by 1.25 becomes 12.5"]),
    ({"batch_size": 51, "max_batch_size": None}, ["`batch_size` 51 is larger than the data set of 50"]),
    ({"max_batch_size": 3}, ["`max_batch_size`", "`batch_size` 4"]),
    ({"max_batch_size": 51}, ["`max_batch_size`", "50 examples", "51"]),
    *[({"mode": mode, **change}, words) for mode in ("decay", "hybrid", "increase_batch") for change, words in (
        ({"milestones": (4, 2)}, ["`milestones` must increase", "(4, 2)"]),
        ({"milestones": (2, 2)}, ["`milestones` must increase"]),
        ({"milestones": (2, 6)}, ["`milestones`", "6 epochs", "(2, 6)"]),
        ({"milestones": (0, 2)}, ["`milestones`", "between 0 and"]),
        ({"milestones": (4, 2), "max_batch_size": 4}, ["`milestones` must increase"]),
        ({"factor": 1}, ["`factor`", "> 1"]), ({"factor": 0.5}, ["`factor`", "> 1", "0.5"]),
        ({"replicas": 3}, ["A batch of 4 images cannot be divided", "3 replicas", "multiple of 3"]),
    )],
    ({"mode": "increse_batch"}, ['Did you mean "increase_batch"']),
], ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "")
def test_an_impossible_plan_is_an_error(changes, words):
    with pytest.raises(UserError) as error:
        growing(**changes)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("count", [49, 51, 5])
def test_arrays_of_another_length_than_declared(count):
    data = np.zeros((count, 5), "float32")
    with pytest.raises(UserError, match=rf"has {count} elements, but the plan is for dataset_size=50"):
        growing().batch((data, data))


def test_arrays_that_look_batched_already():
    with pytest.raises(UserError, match="has 12 elements.*already batched.*single examples"):
        growing().batch(np.zeros((12, 4, 5)))


def test_arrays_of_unequal_length():
    with pytest.raises(UserError, match="equal first dimensions.*50, 5.*49, 1"):
        growing().batch((np.zeros((50, 5)), np.zeros((49, 1))))


@pytest.mark.parametrize("examples", [[NOISY, NOISY], {"x": NOISY}, np.float32(1.0)], ids=["list", "dict", "scalar"])
def test_neither_arrays_nor_a_data_set_is_an_error(examples):
    with pytest.raises(UserError, match="tuple"):
        growing().batch(examples)


def test_the_size_of_the_data_must_be_given():
    with pytest.raises(TypeError, match="dataset_size"):
        BatchSizeScheduler.instead_of_decay(learning_rate=0.1, batch_size=4, factor=2, milestones=(2,), epochs=3)


def test_a_model_with_other_replicas_than_the_plan():
    with pytest.raises(UserError, match="for 2 replicas but the model has 1.*replicas=1"):
        fit(growing(replicas=2))


def test_accumulation_without_the_optimizer_for_it():
    model = network()
    with pytest.raises(UserError, match=r"4 steps per update.*GradientAccumulation\(optimizer, steps=1\)"):
        fit(growing(max_batch_per_replica=4), model)
    assert int(model.optimizer.iterations) == 0


def test_several_steps_per_execution_are_refused_where_epochs_differ():
    model = network()
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=2, jit_compile=XLA)
    with pytest.raises(UserError, match="steps_per_execution=1"):
        fit(growing(), model)
    assert int(model.optimizer.iterations) == 0


def test_several_steps_per_execution_are_exact_where_epochs_are_equal():
    model = network()
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=2, jit_compile=XLA)
    fit(growing(mode="decay"), model)
    assert int(model.optimizer.iterations) == 12 * EPOCHS


def test_a_fit_without_its_batches_is_an_error():
    scheduler, model = growing(), network()
    with pytest.raises(UserError, match=r"2 batches, but the plan for 50 examples has 12, 6, 3.*scheduler.batch"):
        model.fit(NOISY, NOISY[:, :1], batch_size=25, epochs=EPOCHS, callbacks=[scheduler], verbose=0)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow takes a tf.data.Dataset")
def test_a_tensorflow_data_set_on_another_backend():
    class Dataset:
        element_spec = None

    with pytest.raises(UserError, match="takes only arrays"):
        growing().batch(Dataset())
