"""A learning rate that breaks the network: whatever becomes non-finite first, no weights of it are kept as the best."""

import keras
import pytest
from support.tiny_runs import leave_tensorflow_as_it_was, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks.callbacks import Diverged


@pytest.mark.parametrize("changes", [
    {"schedule": {"base_learning_rate": 1e30}},
    {"schedule": {"base_learning_rate": 1e30}, "optimizer": {"ema_decay": 0.9}},
    {"schedule": {"base_learning_rate": 1e30}, "train": {"skip_non_finite": True}},
], ids=["plain", "averaged", "skipped updates"])
def test_one_update_that_breaks_everything(changes, tmp_path):
    one_step = {"epochs": 1, "batch_size": 1198, "warmup_epochs": 0} | changes["schedule"]
    recipe = tiny(export={"formats": ("keras",)}).replace(**changes | {"schedule": one_step})
    with pytest.raises(Diverged, match="val_loss is nan after epoch 1. Nothing of that epoch is saved|not finite"):
        kt.train(recipe, tmp_path / "run", verbose=0)
    assert not list((tmp_path / "run" / "checkpoints").glob("best*"))
    assert not (tmp_path / "run" / "export" / "model.keras").exists()
    keras.config.set_dtype_policy("float32")
