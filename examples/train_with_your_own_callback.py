"""A callback of your own, early stopping and ReduceLROnPlateau in a run that is killed and resumed. About 20 seconds.

    python examples/train_with_your_own_callback.py

The resumed run ends with the same bits as an uninterrupted one, because checkpoints hold the state of callbacks.
"""

import pathlib
import tempfile

import keras
import numpy as np

import keras_tricks as kt
from keras_tricks.weights import safetensors_io


class LossOfEpochs(keras.callbacks.Callback):
    """Sums the loss of all batches. `get_state` and `set_state` make the sum part of checkpoints."""

    def __init__(self, killed_at=None):
        super().__init__()
        self.total, self.batches, self.killed_at = 0.0, 0, killed_at

    def get_state(self):
        return {"total": self.total, "batches": self.batches}

    def set_state(self, state):
        self.total, self.batches = state["total"], state["batches"]

    def on_train_batch_end(self, batch, logs=None):
        self.total += logs["loss"]
        self.batches += 1
        if self.batches == self.killed_at:
            raise KeyboardInterrupt  # as a kill would, in the middle of an epoch


def hooks(killed_at=None):
    return [
        LossOfEpochs(killed_at),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.05),
        keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.05),
    ]


def weights(folder):
    tensors, _ = safetensors_io.read(folder / "checkpoints" / "last.safetensors")
    return {name: values for name, values in tensors.items() if name.startswith("model/")}


def main(folder):
    recipe = kt.load_recipe("quickstart").replace(
        model={"name": "test_resnet", "options": {"stem": "cifar"}},
        schedule={"epochs": 12, "warmup_epochs": 1, "decay": "constant", "base_learning_rate": 0.2},
        train={"checkpoint_steps": 5}, export={"formats": ()})
    whole, killed, again = hooks(), hooks(killed_at=44), hooks()
    kt.train(recipe, folder / "whole", verbose=0, callbacks=whole)
    try:
        kt.train(recipe, folder / "killed", verbose=0, callbacks=killed)
    except KeyboardInterrupt:
        print(f"killed after {killed[0].batches} batches")
    kt.train(resume=folder / "killed", verbose=0, callbacks=again)

    one, other = weights(folder / "whole"), weights(folder / "killed")
    same = all(np.array_equal(one[name], other[name]) for name in one)
    print(f"batches {whole[0].batches} and {again[0].batches}, loss {whole[0].total:.6f} and {again[0].total:.6f}, "
          f"weights {'equal to the bit' if same else 'different'}")
    if not same or whole[0].total != again[0].total:
        raise SystemExit("the resumed run must equal the uninterrupted one")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(pathlib.Path(scratch))
