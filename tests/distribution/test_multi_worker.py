"""Two worker processes on loopback train like one device, and report when one of them dies."""

import pathlib
import shutil
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

from support import replicas  # noqa: E402
from support.workers import start  # noqa: E402

from keras_tricks.weights import safetensors_io  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]


TRAIN = [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--strategy", "multi_worker", "--output", "run"]


def test_two_processes_equal_one_device(tmp_path):
    cases = ("sgd", "agc", "loss_scale_agc_float16", "ema")
    worker = ROOT / "tests" / "support" / "worker.py"
    processes = start([sys.executable, str(worker), str(tmp_path), *cases], tmp_path)
    try:
        codes = [p.wait(timeout=240) for p in processes]
    finally:
        for p in processes:
            p.kill()
    assert codes == [0, 0], (tmp_path / "0.txt").read_text()[-3000:]
    for name in cases:
        one = replicas.train(replicas.CASES[name])
        for worker in range(2):
            several = np.load(tmp_path / f"{name}_{worker}.npy")
            assert replicas.difference(one, several) <= replicas.CASES[name].tolerance, (name, worker)


@pytest.mark.slow
def test_a_killed_worker_ends_the_other_and_both_continue(tmp_path):
    command = [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--strategy", "multi_worker", "--resume",
               "--set", "schedule.epochs=6", "--set", "train.checkpoint_steps=5"]
    whole = [*command, "--output", str(tmp_path / "whole")]
    assert [p.wait(timeout=240) for p in start(whole, tmp_path)] == [0, 0]
    command += ["--output", str(tmp_path / "run")]
    summary = tmp_path / "run" / "summary.csv"
    chief, other = start(command, tmp_path)
    try:
        deadline = time.time() + 240
        while not (summary.is_file() and len(summary.read_text().splitlines()) >= 3):
            assert time.time() < deadline and chief.poll() is None, (tmp_path / "0.txt").read_text()[-3000:]
            time.sleep(0.5)
        other.send_signal(signal.SIGKILL)
        killed = time.time()
        assert chief.wait(timeout=120) not in (0, None)
        assert time.time() - killed < 120
        text = (tmp_path / "0.txt").read_text()
        assert text.splitlines()[-1].startswith("keras-tricks: worker 1 ended or cannot be reached (")
        assert "--resume" in text and "Traceback" not in text
        before = len(summary.read_text().splitlines())
        chief, other = start(command, tmp_path)
        assert [p.wait(timeout=240) for p in (chief, other)] == [0, 0]
    finally:
        for p in (chief, other):
            p.kill()
    epochs = [int(line.split(",")[0]) for line in summary.read_text().splitlines()[1:]]
    assert before > 2 and epochs == [1, 2, 3, 4, 5, 6]
    assert "resuming " in (tmp_path / "0.txt").read_text()
    mine, theirs = (safetensors_io.read(tmp_path / run / "checkpoints" / "last.safetensors")[0]
                    for run in ("run", "whole"))
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [(0,), (1,), (0, 1)])
def test_a_signal_stops_all_workers_after_the_same_step(tmp_path, signalled):
    """With batch statistics, whose mean over the workers a checkpoint reads in both at the same time."""
    command = [*TRAIN[:-2], "--resume", "--set", "schedule.epochs=3", "--set", "export.formats=[]",
               "--set", "optimizer.ema_decay=0.9", "--output"]
    assert [p.wait(timeout=240) for p in start([*command, "whole"], tmp_path)] == [0, 0]
    processes = start([*command, "run"], tmp_path)
    summary = tmp_path / "run" / "summary.csv"
    try:
        deadline = time.time() + 240
        while not (summary.is_file() and len(summary.read_text().splitlines()) >= 2):
            assert time.time() < deadline, (tmp_path / "0.txt").read_text()[-3000:]
            time.sleep(0.1)
        for index in signalled:
            processes[index].send_signal(signal.SIGTERM)
        assert [p.wait(timeout=120) for p in processes] == [143, 143]
    finally:
        for p in processes:
            p.kill()
    lines = [(tmp_path / f"{index}.txt").read_text().splitlines()[-1] for index in range(2)]
    assert all("stopped by SIGTERM" in line and "--resume" in line for line in lines)
    assert lines[0].partition("Continue")[0] == lines[1].partition("Continue")[0]  # the same step
    assert "images" in lines[0]  # in mid-epoch
    assert [p.wait(timeout=240) for p in start([*command, "run"], tmp_path)] == [0, 0]
    resumed, whole = (safetensors_io.read(tmp_path / run / "checkpoints" / "last.safetensors")[0]
                      for run in ("run", "whole"))
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)


def last_lines(processes, folder):
    assert [p.wait(timeout=240) for p in processes] == [2, 2], (folder / "0.txt").read_text()[-3000:]
    return [(folder / f"{index}.txt").read_text().splitlines()[-1] for index in range(2)]


@pytest.mark.slow
def test_another_experiment_is_refused_by_both(tmp_path):
    lines = last_lines(start(TRAIN, tmp_path, last=["--set", "schedule.base_learning_rate=0.123"]), tmp_path)
    assert lines[0] == lines[1]
    assert lines[0].startswith("keras-tricks: worker 1 trains with schedule.base_learning_rate 0.123, worker 0 with 0.")
    assert not (tmp_path / "run").exists()


def make_images(root):
    for split, count in (("train", 40), ("val", 8)):
        for label in range(2):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8), (100 * label, i, 5)).save(folder / f"{i}.png")


@pytest.mark.slow
def test_a_worker_that_lacks_an_image_is_named_before_the_first_step(tmp_path):
    make_images(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "fewer")
    (tmp_path / "fewer" / "train" / "1" / "7.png").unlink()
    command = [*TRAIN, "--set", "data.source=image_folder", "--data-dir", "data"]
    lines = last_lines(start(command, tmp_path, last=["--data-dir", "fewer"]), tmp_path)
    assert lines[0] == lines[1]
    assert lines[0] == ("keras-tricks: worker 1 has other data than worker 0: the number of training images is 79, not "
                        "80. Give all workers the same images.")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_error_of_one_worker_is_the_last_line_of_both(tmp_path):
    make_images(tmp_path / "data")
    command = [*TRAIN, "--set", "data.source=image_folder", "--data-dir", "data"]
    lines = last_lines(start(command, tmp_path, last=["--data-dir", "nowhere"]), tmp_path)
    cause = lines[1].removeprefix("keras-tricks: ")
    assert "nowhere" in cause
    assert lines[0].startswith(f"keras-tricks: worker 1 failed: {cause} Start all workers again with --resume")
