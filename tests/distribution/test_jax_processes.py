"""Two JAX processes on this machine train like one, and stop together. Each makes half of every batch."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_tricks.weights import safetensors_io

if keras.backend.backend() != "jax":
    pytest.skip("KERAS_BACKEND=jax", allow_module_level=True)
pytest.importorskip("tensorflow")  # reads the images
pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = ["schedule.epochs=2", "schedule.base_learning_rate=0.01", "schedule.batch_size=128", "export.formats=[]",
            "optimizer.ema_decay=0.9", "optimizer.agc_clip_factor=0.1", "optimizer.accumulation_steps=2",
            "augment.mixup_alpha=0.2"]


def start(folder, output, workers):
    words = ["train", "quickstart", "--output", output, "--resume"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    launch = ["launch", "-n", str(workers), "--"] if workers > 1 else []
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT),
                   "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    return subprocess.Popen([sys.executable, "-m", "keras_tricks", *launch, *words], cwd=folder, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process, code=0):
    text, _ = process.communicate(timeout=400)
    assert process.returncode == code, text[-3000:]
    return text


def tensors(folder):
    return safetensors_io.read(folder / "checkpoints" / "last.safetensors")[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    end(start(folder, "run", 2))
    return tensors(folder / "run")


def test_two_processes_equal_one(two, tmp_path):
    end(start(tmp_path, "run", 1))
    one = {name: values for name, values in tensors(tmp_path / "run").items() if name.startswith("model/")}
    largest = max(np.abs(values).max() for values in one.values())
    assert max(np.abs(values.astype("f8") - two[name]).max() for name, values in one.items()) < 1e-5 * largest


def test_a_signal_stops_both_after_the_same_step_and_both_continue(two, tmp_path):
    process = start(tmp_path, "run", 2)
    summary, deadline = tmp_path / "run" / "summary.csv", time.time() + 300
    while not (summary.is_file() and len(summary.read_text().splitlines()) >= 2):
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    text = end(process, 143)
    stops = {line.partition("stopped by")[2].partition("Continue")[0] for line in text.splitlines()
             if line.startswith("worker") and "stopped by SIGTERM" in line}
    assert len(stops) == 1 and "images" in stops.pop(), text[-3000:]
    end(start(tmp_path, "run", 2))
    resumed = tensors(tmp_path / "run")
    for name, values in two.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)
