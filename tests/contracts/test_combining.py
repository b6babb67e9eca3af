"""Every line of docs/combining.md, on every backend."""

import pathlib
import re

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.callbacks import BatchSizeScheduler, WarmupLinearScaling, WeightEMA
from keras_tricks.optimizers import AGC, SGD, GradientAccumulation, Lookahead, LossScale, SharpnessAware
from keras_tricks.optimizers.wrapper import OptimizerWrapper, find_wrapper, innermost
from keras_tricks.recipe import Recipe
from keras_tricks.run.build import build_teacher
from keras_tricks.utils.errors import UserError

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "combining.md"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = (X @ RNG.normal(size=(4, 1))).astype("float32")
XLA = keras.backend.backend() != "tensorflow"


def model(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    network.compile(optimizer or SGD(0.1), "mse", jit_compile=XLA, **options)
    return network


def fit(network, *callbacks, batch_size=8, epochs=1, **options):
    network.fit(X, Y, batch_size, epochs, verbose=0, shuffle=False, callbacks=list(callbacks), **options)
    return network


def updates(network):
    return int(keras.ops.convert_to_numpy(network.optimizer.iterations))


def scheduler(**changes):
    return BatchSizeScheduler.instead_of_decay(**{
        "learning_rate": 0.1, "batch_size": 8, "factor": 2, "milestones": (1,), "epochs": 2, "dataset_size": 32,
        "max_batch_size": 16, **changes})


def scheduled(callback, network, *callbacks, epochs=2):
    network.fit(callback.batch((X, Y)), epochs=epochs, verbose=0, callbacks=[callback, *callbacks])
    return network


class Own(OptimizerWrapper):
    """A user's wrapper with attributes of everyday names."""

    steps = student = guarded = state = 1


class Halve(keras.callbacks.Callback):
    """Sets the learning rate at the end of an epoch, as `ReduceLROnPlateau` does."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.5 * float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def cosine():
    return SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))


def warmup(batch_size=8, **options):
    return WarmupLinearScaling(batch_size, **{"base_batch_size": batch_size, "warmup_epochs": 0, **options})


# ---- what works: functions of nothing that check it


def accumulation_around_agc():
    small = fit(model(GradientAccumulation(AGC(SGD(0.1)), 4)), batch_size=8, epochs=3)
    large = fit(model(AGC(SGD(0.1))), batch_size=32, epochs=3)
    np.testing.assert_allclose(small.get_weights()[0], large.get_weights()[0], rtol=1e-5)


def clipnorm_inside_accumulation():
    small = fit(model(GradientAccumulation(keras.optimizers.SGD(0.1, clipnorm=0.1), 4)), batch_size=8)
    large = fit(model(keras.optimizers.SGD(0.1, clipnorm=0.1)), batch_size=32)
    np.testing.assert_allclose(small.get_weights()[0], large.get_weights()[0], rtol=1e-5)


def too_few_batches():
    network = model(GradientAccumulation(SGD(0.1), 8))
    with pytest.warns(UserWarning, match="last 4 batches of `fit` changed no weight.* takes 8 batches"):
        fit(network)
    assert updates(network) == 0
    assert updates(fit(network)) == 1


def the_right_order():
    network = fit(model(LossScale(GradientAccumulation(AGC(SGD(0.1)), 2))), epochs=3)
    assert updates(network) == 6 and type(innermost(network.optimizer)) is SGD


def scheduler_with_accumulation():
    network = scheduled(scheduler(max_batch_per_replica=8), model(GradientAccumulation(SGD(0.1), 1)))
    assert updates(network) == 4 + 2 and network.optimizer.steps == 2


def scheduler_with_a_wrapper_of_ones_own():
    network = scheduled(scheduler(max_batch_per_replica=8), model(Own(GradientAccumulation(SGD(0.1), 1))))
    assert updates(network) == 4 + 2
    assert (network.optimizer.steps, network.optimizer.inner_optimizer.steps) == (1, 2)
    assert find_wrapper(network.optimizer, GradientAccumulation) is network.optimizer.inner_optimizer
    assert find_wrapper(network.optimizer, LossScale) is None


def scheduler_with_early_stopping():
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=0)
    assert updates(scheduled(scheduler(), model(), stop)) in (4, 6)


def warmup_with_accumulation():
    class Rates(keras.callbacks.Callback):
        rates = []

        def on_train_batch_end(self, batch, logs=None):
            self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    fit(model(GradientAccumulation(SGD(0.1), 2)), warmup(16, warmup_epochs=1), Rates())
    assert Rates.rates == pytest.approx([0.05, 0.05, 0.1, 0.1])  # two updates of 16 images
    Rates.rates.clear()


def warmup_with_several_steps_per_execution():
    one, four = (fit(model(steps_per_execution=steps), warmup(warmup_epochs=1)) for steps in (1, 4))
    assert not np.allclose(one.get_weights()[0], four.get_weights()[0])
    rate = float(keras.ops.convert_to_numpy(four.optimizer.learning_rate))
    assert rate == pytest.approx(0.1 / 4)  # that of the first step of the call


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[16 * index : 16 * (index + 1)], Y[16 * index : 16 * (index + 1)]


def average_on_validation_data():
    def logged(data):
        callback = WeightEMA(0.9, data)
        network = model()
        history = network.fit(X, Y, 8, verbose=0, shuffle=False, callbacks=[callback]).history
        with callback.swapped():
            return history["val_ema_loss"][0], network

    value, network = logged((X, Y))
    plain, _ = logged(Data())
    assert value == pytest.approx(plain, rel=1e-5)
    weights = np.linspace(0.0, 1.0, 32).astype("float32")
    weighted, network = logged((X, Y, weights))
    assert weighted != pytest.approx(value, rel=1e-3)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data, _ = logged(tf.data.Dataset.from_tensor_slices((X, Y)).batch(16))
        assert data == pytest.approx(value, rel=1e-5)


def average_with_accumulation():
    small, large = WeightEMA(0.9), WeightEMA(0.9)
    fit(model(GradientAccumulation(SGD(0.1), 4)), small, batch_size=8, epochs=3)
    fit(model(SGD(0.1)), large, batch_size=32, epochs=3)
    for one, two in zip(small.averages, large.averages, strict=True):
        np.testing.assert_allclose(*(keras.ops.convert_to_numpy(v) for v in (one, two)), rtol=1e-5)


def average_with_a_skipped_step():
    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            before.append(keras.ops.convert_to_numpy(average.averages[0]).copy())

    average, before = WeightEMA(0.9), []
    network = model(LossScale(SGD(0.1)))
    data = X.copy()
    data[16:24] = np.inf  # the third of four batches
    network.fit(data, Y, 8, verbose=0, shuffle=False, callbacks=[average, Seen()])
    assert updates(network) == 3
    np.testing.assert_array_equal(before[1], before[2])
    assert not np.array_equal(before[2], before[3])


def average_of_a_student():
    student, teacher = (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2))
    network = kt.losses.Distiller(student, teacher)
    network.compile(SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=XLA)
    average = WeightEMA(0.9)
    network.fit(X, np.arange(32) % 2, 8, verbose=0, callbacks=[average])
    assert [v.shape for v in average.sources] == [v.shape for v in student.variables]
    assert {id(v) for v in average.sources} == {id(v) for v in student.variables}


# ---- what is an error: functions that raise it, and words of the message


def clips_twice():
    for argument in ("clipnorm", "global_clipnorm"):
        with pytest.raises(UserError, match=argument):
            AGC(keras.optimizers.Adam(0.1, **{argument: 1.0}))
    AGC(keras.optimizers.SGD(0.1, clipvalue=1.0))


def exclude_when_built():
    for optimizer in (AGC(keras.optimizers.AdamW(0.1)), LossScale(keras.optimizers.AdamW(0.1))):
        network = fit(model(optimizer))
        with pytest.raises(UserError, match="no effect once the optimizer is built"):
            optimizer.exclude_from_weight_decay(var_list=kt.optimizers.no_decay(network, verbose=False))
    optimizer = SGD(0.1)
    fit(model(optimizer))
    optimizer.exclude_from_weight_decay(var_names=["bias"])


def exclude_variables_of_another_model():
    optimizer = SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=kt.optimizers.no_decay(model(), verbose=False))
    fit(model(optimizer))


def accumulates_in_keras():
    return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)


def several_steps_per_execution():
    scheduled(scheduler(), model(steps_per_execution=2))


def average_with_several_steps_per_execution():
    with pytest.raises(UserError, match="`optimizer.ema_decay` .* `train.steps_per_execution` to 1. Received: 2"):
        Recipe(optimizer={"ema_decay": 0.9}, train={"steps_per_execution": 2})
    fit(model(steps_per_execution=2), WeightEMA(0.9))


def generator():
    WeightEMA(0.9, ((X, Y) for _ in range(2)))


def accumulation(inner):
    return GradientAccumulation(inner, 2)


def accumulation_around_lookahead():
    small = fit(model(GradientAccumulation(Lookahead(SGD(0.1), 2), 4)), batch_size=8, epochs=3)
    large = fit(model(Lookahead(SGD(0.1), 2)), batch_size=32, epochs=3)
    np.testing.assert_allclose(small.get_weights()[0], large.get_weights()[0], rtol=1e-5)


def sharpness_aware(optimizer):
    trainer = SharpnessAware(model(), 0.5)
    trainer.compile(optimizer, "mse", jit_compile=XLA)
    return trainer


def sharpness_aware_with_agc_and_loss_scale():
    plain, both = sharpness_aware(AGC(SGD(0.1), 0.01)), sharpness_aware(LossScale(AGC(SGD(0.1), 0.01)))
    np.testing.assert_allclose(fit(plain).get_weights()[0], fit(both).get_weights()[0], rtol=1e-4)


def sharpness_aware_with_a_teacher():
    build_teacher(Recipe(loss={"teacher": "resnet20d"}, optimizer={"sam_rho": 0.05}), 10)


def average_of_the_model_inside():
    trainer, average = sharpness_aware(SGD(0.1)), WeightEMA(0.5)
    fit(trainer, average)
    assert [v.shape for v in average.averages] == [v.shape for v in trainer.inner_model.variables]


WORKS, ERRORS = {  # (used, with) without backticks: a function that checks
    ("GradientAccumulation", "AGC inside"): accumulation_around_agc,
    ("GradientAccumulation", "clipnorm inside"): clipnorm_inside_accumulation,
    ("GradientAccumulation", "an epoch of too few batches"): too_few_batches,
    ("GradientAccumulation", "Lookahead inside"): accumulation_around_lookahead,
    ("LossScale", "GradientAccumulation and AGC inside"): the_right_order,
    ("BatchSizeScheduler", "GradientAccumulation"): scheduler_with_accumulation,
    ("BatchSizeScheduler", "a wrapper of yours with an attribute steps"): scheduler_with_a_wrapper_of_ones_own,
    ("BatchSizeScheduler", "EarlyStopping"): scheduler_with_early_stopping,
    ("WarmupLinearScaling", "GradientAccumulation"): warmup_with_accumulation,
    ("WarmupLinearScaling", "steps_per_execution > 1"): warmup_with_several_steps_per_execution,
    ("WeightEMA", "(x, y), (x, y, sample_weight), data sets"): average_on_validation_data,
    ("WeightEMA", "GradientAccumulation"): average_with_accumulation,
    ("WeightEMA", "a step that LossScale skips"): average_with_a_skipped_step,
    ("WeightEMA", "Distiller"): average_of_a_student,
    ("WeightEMA", "SharpnessAware"): average_of_the_model_inside,
    ("SharpnessAware", "AGC, LossScale"): sharpness_aware_with_agc_and_loss_scale,
}, {  # (used, with): a function that raises, words of the message
    ("AGC", "GradientAccumulation inside"): (lambda: AGC(accumulation(SGD())), r"GradientAccumulation\(AGC\("),
    ("AGC", "AGC inside, at any depth"): (lambda: AGC(Own(AGC(SGD()))), "clips twice"),
    ("AGC", "clipnorm, global_clipnorm or clipvalue inside"): (clips_twice, "`clipvalue` clips twice"),
    ("GradientAccumulation", "GradientAccumulation inside"): (
        lambda: accumulation(Own(accumulation(SGD()))), "wrap the optimizer once"),
    ("GradientAccumulation", "gradient_accumulation_steps inside"): (
        lambda: accumulation(accumulates_in_keras()), "accumulates twice"),
    ("SharpnessAware", "GradientAccumulation, at any depth"): (
        lambda: sharpness_aware(LossScale(accumulation(SGD()))), "does not accumulate"),
    ("SharpnessAware", "Distiller"): (sharpness_aware_with_a_teacher, "sam_rho. with .loss.teacher"),
    ("any wrapper", "LossScale inside"): (lambda: accumulation(LossScale(SGD())), "must be the outermost"),
    ("Keras' LossScaleOptimizer", "LossScale inside"): (
        lambda: keras.optimizers.LossScaleOptimizer(LossScale(SGD())), "must be the outermost"),
    ("a wrapper", "arguments of Keras' optimizers, such as clipnorm"): (
        lambda: Own(SGD(), clipnorm=1.0), "Own ignores `clipnorm`.*optimizer inside"),
    ("exclude_from_weight_decay", "a wrapper or SGD that is built"): (
        exclude_when_built, "before the optimizer is built"),
    ("exclude_from_weight_decay", "variables of another model"): (
        exclude_variables_of_another_model, "none of which this optimizer updates"),
    ("BatchSizeScheduler", "fit(x, y, batch_size=...)"): (
        lambda: fit(model(), scheduler(), epochs=2), r"4 batches, but the plan .* 4, 2. Pass `scheduler.batch"),
    ("BatchSizeScheduler", "a plan for another number of examples"): (
        lambda: fit(model(), scheduler(dataset_size=16, mode="decay"), epochs=2), "4 batches, .* 16 examples has 2"),
    ("BatchSizeScheduler", "batches split without GradientAccumulation"): (
        lambda: scheduled(scheduler(max_batch_per_replica=8), model()), "2 steps per update: compile with"),
    ("BatchSizeScheduler", "gradient_accumulation_steps"): (
        lambda: scheduled(scheduler(), model(accumulates_in_keras())), "GradientAccumulation.*instead"),
    ("BatchSizeScheduler", "steps_per_execution > 1"): (several_steps_per_execution, "steps_per_execution=1"),
    ("BatchSizeScheduler", "a LearningRateSchedule"): (
        lambda: scheduled(scheduler(), model(cosine())), "BatchSizeScheduler sets the learning rate"),
    ("BatchSizeScheduler", "another callback that sets the learning rate"): (
        lambda: scheduled(scheduler(), model(), Halve()), "set the learning rate to 0.1, but another .* to 0.05"),
    ("WarmupLinearScaling", "a batch_size other than the data's"): (
        lambda: fit(model(accumulation(SGD())), warmup(1024)),
        "batch_size=1024, but an update has 16 images .2 x 8"),
    ("WarmupLinearScaling", "accumulation_steps other than the optimizer's"): (
        lambda: fit(model(accumulation(SGD())), warmup(16, accumulation_steps=4)),
        "accumulation_steps=4.*accumulates 2"),
    ("WarmupLinearScaling", "steps_per_epoch other than in fit"): (
        lambda: fit(model(), warmup(steps_per_epoch=7)), "steps_per_epoch=7, but an epoch of `fit` has 4"),
    ("WarmupLinearScaling", "a LearningRateSchedule"): (
        lambda: fit(model(cosine()), warmup()), "WarmupLinearScaling sets the learning rate"),
    ("WarmupLinearScaling", "another callback that sets the learning rate"): (
        lambda: fit(model(), warmup(), Halve(), epochs=2), "set the learning rate to 0.1, but another .* to 0.05"),
    ("WeightEMA", "a generator as validation_data"): (generator, "ends after one evaluation"),
    ("WeightEMA", "steps_per_execution > 1"): (average_with_several_steps_per_execution, "needs steps_per_execution=1"),
}


def lines():
    """[(used, with, result)] of the tables on the page, without backticks."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text().replace("`", ""), re.MULTILINE)
    return [row for row in rows if row[0] != "used"]


def test_the_page_has_a_line_for_each_test_and_a_test_for_each_line():
    assert {row[:2] for row in lines() if row[2].startswith("works")} == WORKS.keys()
    assert {row[:2] for row in lines() if row[2].startswith("error")} == ERRORS.keys()
    assert len(lines()) == len(WORKS) + len(ERRORS)


@pytest.mark.parametrize("case", WORKS, ids=" with ".join)
def test_what_works(case):
    WORKS[case]()


@pytest.mark.parametrize("case", ERRORS, ids=" with ".join)
def test_what_is_an_error(case):
    wrong, words = ERRORS[case]
    with pytest.raises(UserError, match=words):
        wrong()
