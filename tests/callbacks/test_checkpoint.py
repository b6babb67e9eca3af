import errno
import shutil
import time

import keras
import numpy as np
import pytest

from keras_tricks.callbacks import Checkpoint, NonFiniteLoss, Position, WeightEMA
from keras_tricks.callbacks.checkpoint_file import FORMAT
from keras_tricks.optimizers import SGD, GradientAccumulation
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import load, safetensors_io


def make(width=3, seed=0):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(width), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
        keras.layers.Dense(2),
    ])
    model.compile(SGD(0.1, weight_decay=0.01), "mse")
    return model


X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def fit(model, epochs, initial_epoch=0, callbacks=()):
    model.fit(X, Y, batch_size=4, epochs=epochs, initial_epoch=initial_epoch, shuffle=False, verbose=0,
              callbacks=list(callbacks))


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


def test_a_restored_model_continues_as_if_never_stopped(tmp_path):
    whole = make()
    fit(whole, 4)
    stopped = make()
    fit(stopped, 2, callbacks=[Checkpoint(tmp_path)])
    resumed = make(seed=99)
    assert Checkpoint(tmp_path).restore(resumed) == Position(2)
    for a, b in zip(everything(stopped), everything(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    fit(resumed, 4, initial_epoch=2)
    # Momentum, batch statistics, the number of updates and the dropout seeds were all in the file.
    for a, b in zip(everything(whole), everything(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_being_written_is_waited_for(tmp_path, monkeypatch):
    save = safetensors_io.save
    monkeypatch.setattr(safetensors_io, "save", lambda *args: (time.sleep(0.2), save(*args)))
    model, checkpoint = make(), Checkpoint(tmp_path)
    model.optimizer.build(model.trainable_variables)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {})
    assert checkpoint.restore(make()) == Position(1)


def test_nothing_to_restore_is_epoch_0(tmp_path):
    model = make()
    before = everything(model)
    assert Checkpoint(tmp_path).restore(model) == Position()
    assert all((a == b).all() for a, b in zip(before, everything(model), strict=True))


def test_the_best_is_kept(tmp_path):
    model, kernels = make(), []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: kernels.append(model.get_weights()[0]))
    fit(model, 5, callbacks=[Scores([0.2, 0.5, 0.4, None, 0.5]), Checkpoint(tmp_path), keep])
    folder = tmp_path / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["best.safetensors", "last.1.safetensors", "last.safetensors"]
    for name, epoch in (("best", 2), ("last", 5)):
        tensors, metadata = safetensors_io.read(folder / f"{name}.safetensors")
        assert (metadata["epoch"], metadata["images"], metadata["best"]) == (str(epoch), "0", "0.5")
        loaded = make(seed=5)
        load(loaded, folder / f"{name}.safetensors")
        np.testing.assert_array_equal(loaded.get_weights()[0], kernels[epoch - 1])


def test_the_best_so_far_survives_a_restart(tmp_path):
    fit(make(), 1, callbacks=[Scores([0.7]), Checkpoint(tmp_path)])
    model, checkpoint = make(), Checkpoint(tmp_path)
    checkpoint.restore(model)
    fit(model, 2, initial_epoch=1, callbacks=[Scores([None, 0.6]), checkpoint])
    for name, epoch in (("best", "1"), ("last", "2")):
        metadata = safetensors_io.read(tmp_path / "checkpoints" / f"{name}.safetensors")[1]
        assert (metadata["epoch"], metadata["best"]) == (epoch, "0.7")


def test_a_process_killed_while_writing_leaves_the_previous_file(tmp_path, monkeypatch):
    fit(make(), 1, callbacks=[Checkpoint(tmp_path)])
    last = tmp_path / "checkpoints" / "last.safetensors"
    before = last.read_bytes()

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)  # the new file is written, but has not yet replaced the old one
    with pytest.raises(KeyboardInterrupt):
        fit(make(seed=3), 1, callbacks=[Checkpoint(tmp_path)])
    assert last.read_bytes() == before
    assert [p.name for p in last.parent.iterdir()] == ["last.safetensors"]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("..new.safetensors.123.partial", ".tmpA1b2C3"):
        (tmp_path / "checkpoints" / name).write_bytes(b"half")
    fit(make(), 1, callbacks=[Checkpoint(tmp_path)])
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.safetensors"]


def test_a_process_killed_between_the_files_does_not_lose_the_best(tmp_path, monkeypatch):
    """The epoch runs again after the restart and must write `best` again, so `best` is written before `last`."""
    written = []

    def save(path, *args):
        written.append(path.name)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(safetensors_io, "save", save)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), 1, callbacks=[Scores([0.7]), Checkpoint(tmp_path)])
    assert written == ["best.safetensors", ".new.safetensors"]


def test_another_model_is_refused_before_anything_changes(tmp_path):
    fit(make(width=3), 1, callbacks=[Checkpoint(tmp_path)])
    other = make(width=5)
    before = other.get_weights()
    with pytest.raises(UserError, match=r"last.safetensors: tensor 'model/.*' has shape \(4, 3\).* expects \(4, 5\)"):
        Checkpoint(tmp_path).restore(other)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="is not a readable safetensors file.*No checkpoint in .* is intact"):
        Checkpoint(tmp_path).restore(make())


def two_checkpoints(folder):
    model = make()
    fit(model, 2, callbacks=[Checkpoint(folder)])
    last = folder / "checkpoints" / "last.safetensors"
    return last, last.with_name("last.1.safetensors")


def test_a_damaged_checkpoint_is_passed_over_at_every_byte(tmp_path, caplog):
    """Truncated, or with a bit flipped, at any position: it is detected, and the previous one is loaded."""
    last, older = two_checkpoints(tmp_path)
    whole, before = last.read_bytes(), safetensors_io.read(older)[0]
    header = 8 + int.from_bytes(whole[:8], "little")
    numbers = np.random.default_rng(0)
    places = [*range(0, 8), *numbers.integers(8, header, 150), *numbers.integers(header, len(whole), 100)]
    mutants = [whole[:n] for n in (0, 4, 8, 100, header - 1, header, header + 1, len(whole) - 1)]
    mutants += [whole + b"\0", whole[:header] + bytes(len(whole) - header)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(numbers.integers(8))
        mutants.append(bytes(flipped))
    harmless, model = 0, make(seed=7)
    for mutant in mutants:
        last.write_bytes(mutant)
        for variable in model.trainable_variables:
            variable.assign(variable + 1)  # nothing of the previous restore is left
        position = Checkpoint(tmp_path).restore(model)
        if position == Position(2):  # a space that pads the header: all numbers are intact
            harmless += 1
            tensors, metadata = safetensors_io.read(last, checked=True)
            last.write_bytes(whole)
            original = safetensors_io.read(last)
            assert metadata == original[1] and all(np.array_equal(tensors[n], a) for n, a in original[0].items())
            continue
        assert position == Position(1)
        for name, value in model_tensors(model).items():
            np.testing.assert_array_equal(value, before[name])
    assert len(mutants) - harmless >= 250
    assert "is damaged" in caplog.text and "Resuming from last.1.safetensors" in caplog.text


def model_tensors(model):
    return {f"model/{v.path}": keras.ops.convert_to_numpy(v) for v in model.variables}


def test_a_newer_format_is_refused(tmp_path):
    last, _ = two_checkpoints(tmp_path)
    tensors, metadata = safetensors_io.read(last)
    safetensors_io.save(last, tensors, metadata | {"format": FORMAT + 1, "version": "9.1"})
    with pytest.raises(UserError, match="was written by keras-tricks 9.1, which is newer than this one"):
        Checkpoint(tmp_path).restore(make())


def test_weights_are_not_a_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    safetensors_io.save(tmp_path / "checkpoints" / "last.safetensors", safetensors_io.weights_of(make()))
    with pytest.raises(UserError, match="was not written by a training run"):
        Checkpoint(tmp_path).restore(make())


def test_another_run_is_refused(tmp_path):
    fit(make(), 1, callbacks=[Checkpoint(tmp_path, fingerprint={"set of classes": "cat, dog"})])
    with pytest.raises(UserError, match="belongs to a run with another set of classes: 'cat, dog', now 'cat, cow'"):
        Checkpoint(tmp_path, fingerprint={"set of classes": "cat, cow"}).restore(make())


def test_as_many_are_kept_as_asked_for(tmp_path):
    fit(make(), 6, callbacks=[Checkpoint(tmp_path, keep=3)])
    found = {p.name: safetensors_io.read(p)[1]["epoch"] for p in (tmp_path / "checkpoints").iterdir()}
    assert found == {"last.safetensors": "6", "last.1.safetensors": "5", "last.2.safetensors": "4"}


@pytest.mark.parametrize("as_rust", [True, False])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, as_rust):
    import safetensors.numpy

    save = safetensors.numpy.save_file
    written = []

    def full(tensors, path, metadata):
        written.append(path)
        if len(written) > 2:
            path.write_bytes(b"half of it")
            if as_rust:
                raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, metadata)

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(UserError, match="disk is full. The previous checkpoint is intact.*last.safetensors with --res"):
        fit(make(), 5, callbacks=[Checkpoint(tmp_path)])
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["last.1.safetensors", "last.safetensors"]
    assert Checkpoint(tmp_path).restore(make()) == Position(2)


def test_a_full_disk_before_the_first_checkpoint(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(safetensors_io, "save", full)
    with pytest.raises(UserError, match="after epoch 1 could not be .* is full. There is no earlier checkpoint."):
        fit(make(), 1, callbacks=[Checkpoint(tmp_path)])


def test_non_finite_weights_are_not_saved(tmp_path):
    model = make()
    fit(model, 1, callbacks=[Checkpoint(tmp_path)])
    spoil = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: model.trainable_variables[0].assign(
        np.full(model.trainable_variables[0].shape, np.inf)))
    with pytest.raises(NonFiniteLoss, match="the weights .*kernel are not finite at step 3 of epoch 2"):
        fit(model, 2, 1, callbacks=[spoil, Checkpoint(tmp_path)])
    assert Checkpoint(tmp_path).restore(make()) == Position(1)


def test_what_wraps_the_optimizer_and_the_average_may_be_new(tmp_path):
    fit(make(), 2, callbacks=[Checkpoint(tmp_path)])
    model = make(seed=5)
    model.compile(GradientAccumulation(SGD(0.1, weight_decay=0.01), steps=3), "mse")
    ema = WeightEMA(0.9)
    assert Checkpoint(tmp_path, ema=ema).restore(model) == Position(2)
    plain = make(seed=5)
    Checkpoint(tmp_path).restore(plain)
    assert int(model.optimizer.iterations) == int(plain.optimizer.iterations) == 6
    for ours, average, theirs in zip(model.weights, ema.averages, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(average, theirs)
    assert int(ema.last) == 6


def test_a_nearly_full_disk_is_announced(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    fit(make(), 1, callbacks=[Checkpoint(tmp_path)])
    assert "is nearly full: 0 MiB are free" in caplog.text


def test_other_callbacks_come_back_as_they_were(tmp_path):
    class Watch(keras.callbacks.EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, {"loss": 1.0 + epoch})  # never better than the first

    early = Watch(monitor="loss", patience=5)
    fit(make(), 3, callbacks=[early, Checkpoint(tmp_path, callbacks=[early])])
    assert (early.wait, early.best) == (2, 1.0)
    again, seen = Watch(monitor="loss", patience=5), []
    checkpoint = Checkpoint(tmp_path, callbacks=[again])
    model = make()
    assert checkpoint.restore(model) == Position(3)
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: seen.append((again.wait, again.best)))
    fit(model, 5, 3, callbacks=[again, checkpoint, look])
    assert seen == [(2, 1.0), (3, 1.0)]
