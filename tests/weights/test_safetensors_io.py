"""Weight files: atomic writing, and errors that name mismatches."""

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_tricks.utils.errors import UserError
from keras_tricks.weights import load, safetensors_io


def model(units=3):
    return keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dropout(0.1, name="drop"),
                             keras.layers.Dense(units, name="dense")], name="net")


def test_round_trip_with_metadata(tmp_path):
    arrays = {"a/kernel": np.arange(6, dtype="float32").reshape(2, 3).T, "b": np.float16([1.5]), "n": np.int64(7)}
    safetensors_io.save(tmp_path / "w.safetensors", arrays, {"epoch": 3, "best": ""})
    tensors, metadata = safetensors_io.read(tmp_path / "w.safetensors")
    assert metadata == {"epoch": "3", "best": ""}
    assert tensors.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("moment", ["before writing", "half written", "before renaming"])
def test_a_failure_leaves_the_old_file(moment, tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    safetensors_io.save(path, {"a": np.zeros(3)}, {"epoch": 1})
    old = path.read_bytes()

    def fail(tensors, target, metadata):
        if moment == "half written":
            target.write_bytes(old[: len(old) // 2])
        raise OSError("disk full")

    def fail_to_rename(source, target):
        raise OSError("disk full")

    if moment == "before renaming":
        monkeypatch.setattr(safetensors_io.os, "replace", fail_to_rename)
    else:
        monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        safetensors_io.save(path, {"a": np.ones(3)}, {"epoch": 2})
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_reader_never_sees_a_half_written_file(tmp_path, monkeypatch):
    path, seen = tmp_path / "w.safetensors", []
    safetensors_io.save(path, {"a": np.zeros(3)})
    write = safetensors.numpy.save_file

    def spy(*args, **kwargs):
        write(*args, **kwargs)
        seen.append(safetensors_io.read(path)[0]["a"].sum())

    monkeypatch.setattr(safetensors.numpy, "save_file", spy)
    safetensors_io.save(path, {"a": np.ones(3)})
    assert seen == [0.0] and safetensors_io.read(path)[0]["a"].sum() == 3.0


def test_nothing_is_assigned_unless_everything_fits():
    net = model()
    before = net.get_weights()
    variables = safetensors_io.weights_of(net)
    kernel, bias = variables
    assert kernel.endswith("dense/kernel") and bias.endswith("dense/bias")
    with pytest.raises(UserError, match=rf"w: tensor '{bias}' has shape \(4,\), the model expects \(3,\)"):
        safetensors_io.assign(variables, {kernel: np.ones((2, 3)), bias: np.ones(4)}, "w")
    with pytest.raises(UserError, match=rf"w has no tensor '{bias}' \(it has 1 others\)"):
        safetensors_io.assign(variables, {kernel: np.ones((2, 3))}, "w")
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_checkpoint_is_a_weight_file(tmp_path):
    """Checkpoints prefix the model's variables with "model/" and hold the optimizer's too."""
    net, again = model(), model()
    tensors = {f"model/{name}": v for name, v in safetensors_io.by_path(net.variables).items()}
    safetensors_io.save(tmp_path / "last.safetensors", {**tensors, "optimizer/iterations": np.int64(5)})
    load(again, tmp_path / "last.safetensors")
    for old, new in zip(net.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_unreadable(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"not a file")
    with pytest.raises(UserError, match=r"w\.safetensors is not a readable safetensors file"):
        safetensors_io.read(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="not a readable"):
        safetensors_io.read(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5", ".keras"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_rejected(suffix, bad, tmp_path):
    broken, net = model(), model()
    broken.layers[-1].bias.assign([0.0, bad, 0.0])
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors_io.save(path, safetensors_io.weights_of(broken))
    else:
        (broken.save if suffix == ".keras" else broken.save_weights)(path)
    before = net.get_weights()
    with pytest.raises(UserError, match=r"w\S+: tensor '.*dense/.*' contains values that are not finite"):
        load(net, path)
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "int32"])
def test_integers_and_bools_are_no_weights(dtype, tmp_path):
    net = model()
    tensors = {name: np.ones(v.shape, dtype) for name, v in safetensors_io.weights_of(net).items()}
    safetensors_io.save(tmp_path / "w.safetensors", tensors)
    with pytest.raises(UserError, match=f"dense/kernel' has dtype {dtype}, but weights are floats"):
        load(net, tmp_path / "w.safetensors")


def test_int8_and_bools_in_a_file_of_keras(tmp_path):
    h5py = pytest.importorskip("h5py")
    net = model()
    net.compile("adam", "mse")
    net.fit(np.ones((2, 2)), np.ones((2, 3)), verbose=0)
    net.save_weights(tmp_path / "w.weights.h5")
    load(net, tmp_path / "w.weights.h5")  # counters of the optimizer and seeds of dropout are integers
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.ones(3, "int8")
    with pytest.raises(UserError, match="'layers/dense/vars/1' has dtype int8"):
        load(net, tmp_path / "w.weights.h5")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_of_other_precisions_load(dtype, tmp_path):
    net = model()
    tensors = {name: np.full(v.shape, 0.5, dtype) for name, v in safetensors_io.weights_of(net).items()}
    safetensors_io.save(tmp_path / "w.safetensors", tensors)
    load(net, tmp_path / "w.safetensors")
    assert all((w == 0.5).all() for w in net.get_weights())
