"""A tiny recipe that uses every random component, and helpers that read its runs."""

import csv
import importlib.util
import pathlib

import keras
import numpy as np
import pytest

from keras_tricks import callbacks
from keras_tricks.callbacks import run_log
from keras_tricks.recipe import Augment, Data, Loss, Model, Optimizer, Recipe, Schedule
from keras_tricks.weights import safetensors_io

STEPS = 1198 // 128
NO_EXPORT = {"formats": ()}


def tiny(**changes):
    """A recipe with every random component: crop, jitter, mixup, dropout and drop path."""
    recipe = Recipe(
        name="tiny/digits",
        seed=3,
        data=Data(image_size=8, eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3, workers=1),
        augment=Augment(crop="pad", pad=1, flip=False, color_jitter="gluoncv", mixup_alpha=0.2),
        model=Model(name="test_resnet", zero_gamma=True,
                    options={"stem": "cifar", "dropout_rate": 0.1, "drop_path_rate": 0.1}),
        loss=Loss(label_smoothing=0.1),
        optimizer=Optimizer(no_bias_decay=True),
        schedule=Schedule(epochs=2, batch_size=128, base_learning_rate=0.2, warmup_epochs=0.5, decay="cosine"),
    )
    return recipe.replace(**changes)


@pytest.fixture(autouse=True)
def leave_tensorflow_as_it_was(request, monkeypatch):
    """Restores TensorFlow after a test: training makes it deterministic. Curves (an eighth of a run) are not drawn."""
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    if "curves" not in request.node.name:
        monkeypatch.setattr(run_log, "draw_curves", lambda folder: None)
    yield
    if has_tensorflow:
        from tensorflow.python.framework import config

        config.disable_op_determinism()
    keras.config.set_dtype_policy("float32")


def state(folder):
    tensors, metadata = safetensors_io.read(pathlib.Path(folder) / "checkpoints" / "last.safetensors")
    metadata.pop("callbacks")  # seconds
    metadata.pop("recipe", None)  # it may differ in keys that change no weight
    return tensors, metadata


def summary(folder):
    with open(pathlib.Path(folder) / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_end(folder, other):
    (a, a_metadata), (b, b_metadata) = state(folder), state(other)
    assert a.keys() == b.keys() and a_metadata == b_metadata
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def timeless_summary(folder):
    """The rows of `summary.csv` without times."""
    return [{k: v for k, v in row.items() if k not in ("images_per_s", "data_wait", "seconds")}
            for row in summary(folder)]


def growing(**changes):
    """Batches of 64, 128 and 256 images for 1, 2 and 1 epochs, instead of halving the learning rate twice."""
    schedule = dict(epochs=4, batch_size=64, decay="step", milestones=(1, 3), factor=0.5, mode="increase_batch",
                    max_batch_size=256, warmup_epochs=0.5)
    return tiny(schedule=schedule, export=NO_EXPORT).replace(**changes)


GROWN_STEPS = [18, 27, 36, 40]  # 1198 // 64, and twice 1198 // 128, and 1198 // 256


def kill_in_the_second_epoch(monkeypatch):
    """Ends a run with Ctrl-C after the fourth step of its second epoch."""
    original = callbacks.BatchSizeScheduler.on_train_batch_end

    def killed(self, batch, logs=None):
        original(self, batch, logs)
        if (self.epoch, batch) == (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_end", killed)
