"""Two worker processes on loopback train as one device, and say so when one of them dies."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from support import replicas  # noqa: E402

from keras_tricks.weights import safetensors_io  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(command, folder, count=2):
    """`count` workers, each writing its output to `folder/<index>.txt`."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
        out = open(folder / f"{index}.txt", "ab")
        processes.append(subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT))
    return processes


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
        assert "another worker" in text and "--resume" in text and "Traceback" not in text
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
