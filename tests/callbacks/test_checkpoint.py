import keras
import numpy as np
import pytest

from keras_tricks.callbacks import Checkpoint
from keras_tricks.errors import UserError
from keras_tricks.optimizers import SGD
from keras_tricks.weights import files, load


def make(width=3, seed=0):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(width), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
        keras.layers.Dense(2),
    ])  # fmt: skip
    model.compile(SGD(0.1, weight_decay=0.01), "mse")
    return model


X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def fit(model, epochs, initial_epoch=0, callbacks=()):
    model.fit(X, Y, batch_size=4, epochs=epochs, initial_epoch=initial_epoch, shuffle=False, verbose=0,
              callbacks=list(callbacks))  # fmt: skip


class Scores(keras.callbacks.Callback):
    """Puts given values into the logs, as an evaluation would."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        if self.values[epoch] is not None:
            logs["val_top1"] = self.values[epoch]


def everything(model):
    return [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


def test_a_restored_model_goes_on_as_if_never_stopped(tmp_path):
    whole = make()
    fit(whole, 4)
    stopped = make()
    fit(stopped, 2, callbacks=[Checkpoint(tmp_path)])
    resumed = make(seed=99)
    assert Checkpoint(tmp_path).restore(resumed) == 2
    for a, b in zip(everything(stopped), everything(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    fit(resumed, 4, initial_epoch=2)
    # Momentum, batch statistics, the number of updates and the dropout seeds were all in the file.
    for a, b in zip(everything(whole), everything(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_to_restore_is_epoch_0(tmp_path):
    model = make()
    before = everything(model)
    assert Checkpoint(tmp_path).restore(model) == 0
    assert all((a == b).all() for a, b in zip(before, everything(model), strict=True))


def test_the_best_is_kept(tmp_path):
    model, kernels = make(), []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: kernels.append(model.get_weights()[0]))
    fit(model, 5, callbacks=[Scores([0.2, 0.5, 0.4, None, 0.5]), Checkpoint(tmp_path), keep])
    folder = tmp_path / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["best.safetensors", "last.safetensors"]
    for name, epoch in (("best", 2), ("last", 5)):
        tensors, metadata = files.read(folder / f"{name}.safetensors")
        assert metadata == {"epoch": str(epoch), "best": "0.5"}
        loaded = make(seed=5)
        load(loaded, folder / f"{name}.safetensors")
        np.testing.assert_array_equal(loaded.get_weights()[0], kernels[epoch - 1])


def test_the_best_so_far_survives_a_restart(tmp_path):
    fit(make(), 1, callbacks=[Scores([0.7]), Checkpoint(tmp_path)])
    model, checkpoint = make(), Checkpoint(tmp_path)
    checkpoint.restore(model)
    fit(model, 2, initial_epoch=1, callbacks=[Scores([None, 0.6]), checkpoint])
    assert files.read(tmp_path / "checkpoints" / "best.safetensors")[1] == {"epoch": "1", "best": "0.7"}
    assert files.read(tmp_path / "checkpoints" / "last.safetensors")[1] == {"epoch": "2", "best": "0.7"}


def test_a_process_killed_while_writing_leaves_the_previous_file(tmp_path, monkeypatch):
    fit(make(), 1, callbacks=[Checkpoint(tmp_path)])
    last = tmp_path / "checkpoints" / "last.safetensors"
    before = last.read_bytes()

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)  # the new file is written, but not yet in its place
    with pytest.raises(KeyboardInterrupt):
        fit(make(seed=3), 1, callbacks=[Checkpoint(tmp_path)])
    assert last.read_bytes() == before
    assert [p.name for p in last.parent.iterdir()] == ["last.safetensors"]


def test_a_process_killed_between_the_files_does_not_lose_the_best(tmp_path, monkeypatch):
    """Done again after the restart, the epoch must write `best` again: so `best` goes first, `last` seals the epoch."""
    written = []

    def save(path, *args):
        written.append(path.name)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "save", save)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), 1, callbacks=[Scores([0.7]), Checkpoint(tmp_path)])
    assert written == ["best.safetensors", "last.safetensors"]


def test_another_model_is_refused_before_anything_changes(tmp_path):
    fit(make(width=3), 1, callbacks=[Checkpoint(tmp_path)])
    other = make(width=5)
    before = other.get_weights()
    with pytest.raises(UserError, match=r"last.safetensors: tensor 'model/.*' has shape \(4, 3\).* expects \(4, 5\)"):
        Checkpoint(tmp_path).restore(other)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="last.safetensors is not a readable safetensors file"):
        Checkpoint(tmp_path).restore(make())
