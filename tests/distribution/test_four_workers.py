"""Four worker processes on loopback: one quarter of the work each, the weights of one device, one checkpoint."""

import json
import pathlib
import signal
import sys
import time

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from support import counting_worker  # noqa: E402
from support.workers import start  # noqa: E402

from keras_tricks.weights import safetensors_io  # noqa: E402

pytestmark = pytest.mark.slow
WORKERS, EPOCHS = 4, 2
SCRIPT = [sys.executable, str(pathlib.Path(counting_worker.__file__))]


def tensors(folder):
    return safetensors_io.read(folder / "checkpoints" / "last.safetensors")[0]


def wait_for_steps(folder, processes):
    """Returns when the first epoch has been written."""
    summary, deadline = folder / "run" / "summary.csv", time.time() + 400
    while not (summary.is_file() and len(summary.read_text().splitlines()) >= 2):
        assert time.time() < deadline and all(p.poll() is None for p in processes), (folder / "0.txt").read_text()
        time.sleep(0.2)


def end(processes, seconds=400):
    try:
        return [p.wait(timeout=seconds) for p in processes]
    finally:
        for p in processes:
            p.kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert end(start([*SCRIPT, str(folder), "run"], folder, WORKERS)) == [0] * 4, (folder / "0.txt").read_text()[-3000:]
    return folder


def test_each_reads_a_quarter(whole):
    counts = [json.loads((whole / f"run_{i}.json").read_text())["fetched"] for i in range(WORKERS)]
    steps = EPOCHS * counting_worker.STEPS
    assert [len(c["train"]) for c in counts] == [steps * counting_worker.BATCH // WORKERS] * WORKERS
    images = [i for c in counts for i in c["train"]]
    assert len(set(images)) <= counting_worker.TRAIN_IMAGES and np.bincount(images).max() == EPOCHS
    evaluated = [i for c in counts for i in c["validation"]]
    passes, rest = divmod(len(evaluated), counting_worker.VALIDATION_IMAGES)
    assert rest == 0 and np.bincount(evaluated).tolist() == [passes] * counting_worker.VALIDATION_IMAGES
    assert max(len(c["validation"]) for c in counts) <= passes * (counting_worker.VALIDATION_IMAGES / 4 + 300 / 4)


def test_the_weights_are_those_of_one_device(whole, tmp_path):
    assert end(start([*SCRIPT, str(tmp_path), "run", "--strategy", "one"], tmp_path, 1)) == [0]
    one, four = tensors(tmp_path / "run"), tensors(whole / "run")
    weights = {name: values for name, values in one.items() if name.startswith("model/")}
    largest = max(np.abs(values).max() for values in weights.values())
    assert max(np.abs(values - four[name]).max() for name, values in weights.items()) <= 1e-6 * max(largest, 1)
    losses = [json.loads((folder / "run_0.json").read_text())["val_loss"] for folder in (tmp_path, whole)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_signal_to_all_leaves_a_checkpoint_of_one_step_and_resume_is_exact(whole, tmp_path):
    command = [*SCRIPT, str(tmp_path), "run", "--resume"]
    processes = start([*command, "--pause", "0.2"], tmp_path, WORKERS)
    wait_for_steps(tmp_path, processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert end(processes) == [143] * 4
    lines = {(tmp_path / f"{i}.txt").read_text().splitlines()[-1].partition("Continue")[0] for i in range(WORKERS)}
    assert len(lines) == 1 and "stopped by SIGTERM" in (line := lines.pop()) and "images" in line
    assert end(start(command, tmp_path, WORKERS)) == [0] * 4
    resumed = tensors(tmp_path / "run")
    for name, values in tensors(whole / "run").items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)


def test_a_killed_worker_is_named_by_all_others(tmp_path):
    processes = start([*SCRIPT, str(tmp_path), "run", "--epochs", "50", "--pause", "0.2"], tmp_path, WORKERS)
    wait_for_steps(tmp_path, processes)
    processes[2].kill()
    codes = end(processes)
    assert codes[2] == -signal.SIGKILL and all(code not in (0, None) for code in codes)
    for index in (0, 1, 3):
        line = (tmp_path / f"{index}.txt").read_text().splitlines()[-1]
        assert line.startswith("keras-tricks: worker 2 ended or cannot be reached ("), (index, line)
        assert "Start all workers again with --resume" in line
