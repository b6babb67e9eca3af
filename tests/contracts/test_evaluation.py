"""Losses and accuracies of an evaluation are sums over images divided by their number, on any number of replicas."""

import csv
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("strategies are TensorFlow's", allow_module_level=True)

import subprocess  # noqa: E402

from data.test_evaluation_batches import CLASSES, DATA, numbered  # noqa: E402
from support.paths import ROOT  # noqa: E402

from keras_tricks import distribution, evaluate, load_recipe, losses  # noqa: E402
from keras_tricks.data import evaluation_batches  # noqa: E402
from keras_tricks.run.build import build_metrics  # noqa: E402


def network():
    inputs = keras.Input((4, 4, 3))
    scores = keras.layers.Dense(CLASSES, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=1))
    return keras.Model(inputs, scores(keras.layers.Flatten()(inputs)))


def by_hand(model, count, broken, smoothing=0.1):
    """(loss, top-1) of the intact images, in NumPy."""
    intact = np.array([i for i in range(count) if i not in broken])
    images = intact[:, None, None, None] % 256 * np.ones((1, 4, 4, 3))
    kernel, bias = (keras.ops.convert_to_numpy(w).astype("float64") for w in model.weights)
    scores = images.reshape(len(intact), -1) @ kernel + bias
    log_p = scores - scores.max(1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    targets = np.full_like(log_p, smoothing / (CLASSES - 1))
    targets[np.arange(len(intact)), intact % CLASSES] = 1 - smoothing
    return -(targets * log_p).sum(1).mean(), (scores.argmax(1) == intact % CLASSES).mean()


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("count, batch, broken", [(23, 10, {}), (23, 7, {0, 5, 22}), (1, 8, {}), (20, 5, {1, 2, 3})])
def test_results_are_those_of_the_intact_images(devices, count, batch, broken):
    strategy = (distribution.strategy("one") if devices == 1
                else distribution.mirrored([f"CPU:{i}" for i in range(devices)]))
    loss = losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
    with strategy.scope():
        model = network()
        model.compile(loss=loss, weighted_metrics=build_metrics(loss, distilled=False))
    batches = evaluation_batches(numbered(count, broken), DATA, CLASSES, batch, devices)
    found = model.evaluate(batches, verbose=0, return_dict=True)
    expected = by_hand(model, count, broken)
    np.testing.assert_allclose((found["loss"], found["top1"]), expected, rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 3])
def test_broken_images_do_not_change_the_loss(devices):
    """20 of 200 broken: the loss of the 180 others, to 1e-6."""
    strategy = (distribution.strategy("one") if devices == 1
                else distribution.mirrored([f"CPU:{i}" for i in range(devices)]))
    broken, loss = set(range(3, 200, 10)), losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
    with strategy.scope():
        model = network()
        model.compile(loss=loss, weighted_metrics=build_metrics(loss, distilled=False))
    without = numbered(200).pick(np.array([i for i in range(200) if i not in broken]))
    found = [model.evaluate(evaluation_batches(split, DATA, CLASSES, 64, devices), verbose=0, return_dict=True)
             for split in (numbered(200, broken), without)]
    assert len(broken) == 20 and without.num_examples == 180
    for name, value in found[1].items():
        assert found[0][name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("batch, devices", [(299, 2), (64, 16), (7, 3)])
def test_quickstart_on_replicas_that_do_not_divide_the_images(batch, devices, tmp_path):
    """599 images; each case once ended the run in TensorFlow's convolution."""
    words = ["train", "quickstart", "--strategy", "mirrored", "--logical-devices", devices, "--output", "run",
             "--set", f"train.eval_batch_size={batch}", "--set", "schedule.epochs=1", "--set", "export.formats=[]",
             "--set", "schedule.batch_size=96", "--set", "train.precision=float32"]
    done = subprocess.run([sys.executable, "-m", "keras_tricks", *map(str, words)], cwd=tmp_path, capture_output=True,
                          text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=1800)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "run" / "summary.csv") as file:
        (row,) = csv.DictReader(file)
    one = evaluate(load_recipe("quickstart").replace(train={"precision": "float32"}), tmp_path / "run")
    found = float(row["val_loss"]), float(row["top1"])
    np.testing.assert_allclose(found, (one["loss"], 100 * one["top1"]), rtol=1e-5)
