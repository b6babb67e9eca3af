"""Devices behind one interface: what a run asks of them on TensorFlow, and whole runs on JAX and torch.

On JAX the process has four CPU devices (conftest.py): a run uses one of them, or all. On torch it uses one.
"""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")  # reads the images on every backend

from support.tiny_runs import (  # noqa: E402, F401
    NO_EXPORT,
    assert_same_end,
    growing,
    leave_tensorflow_as_it_was,
    tiny,
)

import keras_tricks as kt  # noqa: E402
from keras_tricks import callbacks, distribution, training  # noqa: E402
from keras_tricks.cli.plan import describe  # noqa: E402
from keras_tricks.utils.errors import UserError  # noqa: E402
from keras_tricks.weights import safetensors_io  # noqa: E402

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="KERAS_BACKEND=jax")
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="KERAS_BACKEND=torch")
elsewhere = pytest.mark.skipif(BACKEND == "tensorflow", reason="KERAS_BACKEND=jax or torch")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="KERAS_BACKEND=tensorflow")


@on_tensorflow
def test_one_device_of_tensorflow():
    devices = distribution.make_devices("one")
    assert (devices.replicas, devices.processes, devices.process_index, devices.is_chief) == (1, 1, 0, True)
    assert devices.compile_arguments(False) == {"jit_compile": False} and not devices.static_shapes
    assert devices.compile_arguments("auto") == {"jit_compile": False} and devices.is_deterministic("auto")
    assert devices.distribute(lambda part, parts: (part, parts)) == (0, 1)
    assert devices.is_out_of_memory(MemoryError()) and not devices.is_lost_peer(RuntimeError("UNAVAILABLE"))
    assert any("CPU" in name for name in devices.describe())


@on_tensorflow
def test_automatic_settings_depend_on_the_device():
    devices = distribution.make_devices("one")
    devices.on_gpu = True
    assert devices.compile_arguments("auto") == {"jit_compile": True} and not devices.is_deterministic("auto")
    assert devices.compile_arguments(False) == {"jit_compile": False} and devices.is_deterministic(True)
    devices.replicas = 2
    assert devices.compile_arguments("auto") == {"jit_compile": False}


@on_tensorflow
def test_old_recipes_and_the_plan(tmp_path):
    recipe = tiny(train={"deterministic": True, "jit_compile": False})
    assert type(recipe).from_json(recipe.to_json()).train == recipe.train
    text = describe(training.prepare(tiny()))
    assert "determinism on (auto): equal runs give equal bits" in text and "XLA         off (auto): nothing is" in text
    with pytest.raises(UserError, match='`train.jit_compile`: expected "auto", true or false. Received: .yes'):
        tiny(train={"jit_compile": "yes"})
    with pytest.raises(UserError, match='`train.deterministic`: expected "auto", true or false. Received: 1'):
        tiny(train={"deterministic": 1})


def weights(folder):
    tensors, _ = safetensors_io.read(folder / "checkpoints" / "last.safetensors")
    return {name: values for name, values in tensors.items() if name.startswith("model/")}


def difference(a, b):
    """max |a - b| / max |a| over all weights."""
    return max(np.abs(a[n].astype("f8") - b[n]).max() for n in a) / max(np.abs(v).max() for v in a.values())


class Killed(BaseException):
    """An end that no code of this package handles."""


@on_jax
def test_jax_on_one_device_and_on_four_give_the_same_weights(tmp_path):
    """Four updates with everything on but dropout, which draws for a whole batch on both."""
    recipe = tiny(data={"train_images": 256}, schedule={"epochs": 2, "batch_size": 128}, export=NO_EXPORT,
                  optimizer={"ema_decay": 0.9, "agc_clip_factor": 0.1, "accumulation_steps": 2})
    for name in ("one", "mirrored"):
        kt.train(recipe.replace(train={"strategy": name}), tmp_path / name, verbose=0)
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "mirrored")) < 1e-5


@elsewhere
def test_a_run_resumes_in_mid_epoch_to_the_same_bits(tmp_path, monkeypatch):
    """A batch that grows, drop path, dropout, mixup, accumulation and an average."""
    recipe = growing(optimizer={"ema_decay": 0.9}, train={"max_batch_per_replica": 64, "checkpoint_steps": 2,
                                                          "strategy": "one"})
    kt.train(recipe, tmp_path / "whole", verbose=0)
    original = callbacks.BatchSizeScheduler.on_train_batch_begin

    def hook(this, number, logs=None):
        if (this.epoch, number) == (1, 7):
            raise Killed
        original(this, number, logs)

    monkeypatch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_begin", hook)
    with pytest.raises(Killed):
        kt.train(recipe, tmp_path / "killed", verbose=0)
    monkeypatch.undo()
    kt.train(recipe, tmp_path / "killed", resume=True, verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@elsewhere
def test_keras_files_that_other_backends_open(tmp_path):
    run = kt.train(tiny(export={"formats": ("keras",)}, schedule={"epochs": 1}, train={"strategy": "one"}),
                   tmp_path / "run", verbose=0)
    model = keras.models.load_model(run.folder / "export" / "model.keras", compile=False)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    to_numpy = keras.ops.convert_to_numpy
    np.testing.assert_allclose(to_numpy(model(pixels)), to_numpy(run.model(pixels)), rtol=1e-5, atol=1e-6)


@on_torch
@pytest.mark.parametrize("name, logical", [("mirrored", None), ("multi_worker", None), ("tpu", None), ("auto", 2)])
def test_torch_has_one_device(name, logical):
    assert distribution.make_devices("auto").replicas == 1
    with pytest.raises(UserError, match="KERAS_BACKEND=tensorflow or jax"):
        distribution.make_devices(name, logical)


@on_jax
@pytest.mark.parametrize("name, logical, words", [
    ("tpu", None, "No TPU was found: JAX runs on cpu"),
    ("mirrored", 3, "`logical_devices`=3 must be set before JAX is used; this process has 4 devices already"),
    ("one", 2, "`logical_devices` goes with the strategy mirrored"),
])
def test_devices_that_jax_does_not_have(name, logical, words):
    with pytest.raises(UserError, match=words):
        distribution.make_devices(name, logical)


@on_jax
def test_mirrored_with_one_device(monkeypatch):
    import jax

    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices()[:1])
    with pytest.raises(UserError, match="mirrored found one device. Try it on the CPU with --logical-devices 2"):
        distribution.make_devices("mirrored")
    assert distribution.make_devices("auto").replicas == 1


@on_jax
def test_what_has_no_effect_on_jax_is_said(caplog):
    own = keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:2], auto_shard_dataset=False)
    with caplog.at_level("INFO", "absl"):
        assert distribution.make_devices("one").compile_arguments(False) == {"jit_compile": True}
        keras.distribution.set_distribution(own)
        try:
            assert distribution.make_devices("one").distribution is own
        finally:
            keras.distribution.set_distribution(None)
    assert "train.jit_compile=false has no effect on JAX" in caplog.text
    assert "DataParallel over 2 devices, stays in force; strategy=one has no effect" in caplog.text
