import json
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks.schedules import Cosine, Step, WarmupLinearScaling, learning_rate

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch_schedule.json").read_text())
EPOCHS, STEPS, WARMUP = GOLDEN["epochs"], GOLDEN["steps_per_epoch"], GOLDEN["warmup_epochs"]
DECAYS = {"cosine": Cosine(EPOCHS), "step": Step(tuple(GOLDEN["milestone_epochs"]))}
cases = pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda c: f"{c['decay']}-{c['batch_size']}")


@cases
def test_the_function_equals_torch(case):
    step = np.arange(EPOCHS * STEPS)
    ours = learning_rate(step, STEPS, case["peak"], WARMUP, DECAYS[case["decay"]])
    np.testing.assert_allclose(ours, case["learning_rate"], rtol=0, atol=1e-12)
    assert learning_rate(37, STEPS, case["peak"], WARMUP, DECAYS[case["decay"]]) == pytest.approx(ours[37], abs=1e-15)


@cases
def test_the_schedule_equals_torch(case):
    schedule = WarmupLinearScaling(case["batch_size"], STEPS, warmup_epochs=WARMUP, decay=DECAYS[case["decay"]])
    ours = keras.ops.convert_to_numpy(schedule(np.arange(EPOCHS * STEPS)))
    np.testing.assert_allclose(ours, case["learning_rate"], rtol=0, atol=1e-7)


def test_defaults_are_those_of_the_paper():
    schedule = WarmupLinearScaling(1024, steps_per_epoch=100)
    rates = [float(schedule(step)) for step in (0, 249, 499, 500, 10**6)]
    np.testing.assert_allclose(rates, [0.4 / 500, 0.2, 0.4, 0.4, 0.4], rtol=1e-6)


def test_no_warmup_and_no_decay_is_constant():
    schedule = WarmupLinearScaling(256, 10, warmup_epochs=0)
    np.testing.assert_allclose([float(schedule(step)) for step in (0, 1, 500)], 0.1, rtol=1e-6)


@pytest.mark.parametrize("decay", [None, Cosine(12), Step((3, 6.5), 0.2)])
def test_config_round_trip(decay):
    schedule = WarmupLinearScaling(96, 7, 0.3, 128, 1.5, decay)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))  # lists instead of tuples
    again = keras.saving.deserialize_keras_object(config)
    assert again.decay == decay and again.get_config() == schedule.get_config()
    steps = np.arange(90)
    np.testing.assert_array_equal(schedule(steps), again(steps))
    WarmupLinearScaling.from_config(config["config"])
    WarmupLinearScaling.from_config(config["config"])  # a config may be used twice


def test_an_optimizer_with_the_schedule_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    schedule = WarmupLinearScaling(256, 4, 0.1, decay=Cosine(3), warmup_epochs=1)
    model.compile(keras.optimizers.SGD(schedule), "mse")
    model.fit(np.ones((6, 2)), np.ones((6, 1)), batch_size=1, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert float(loaded.learning_rate) == float(model.optimizer.learning_rate) == pytest.approx(float(schedule(6)))
    assert int(loaded.iterations) == 6
