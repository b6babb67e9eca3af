"""Several worker processes for one command. Most cases start a few lines of Python instead of a training."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from keras_tricks import cli
from keras_tricks.cli import launch

ROOT = pathlib.Path(__file__).parents[2]


def start(code, workers=2):
    """Runs Python code in workers, where `index` is the number of the worker. Returns the error or `None`."""
    head = "import json, os, pathlib, signal, sys, time; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    try:
        launch.launch([sys.executable, "-c", head + code], workers)
    except launch.WorkerFailed as error:
        return error


def test_each_worker_has_its_place_in_the_cluster():
    configs = [json.loads(text) for text in launch.tf_configs(3)]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": i} for i in range(3)]
    assert len({json.dumps(config["cluster"]) for config in configs}) == 1
    assert len(set(configs[0]["cluster"]["worker"])) == 3


def test_lines_carry_the_name_of_their_worker(capsys):
    assert start("print('out', index); print('error', index, file=sys.stderr); print('end', end='')") is None
    printed = capsys.readouterr()
    assert sorted(printed.out.splitlines()) == ["worker 0: end", "worker 0: out 0", "worker 1: end", "worker 1: out 1"]
    assert sorted(printed.err.splitlines()) == ["worker 0: error 0", "worker 1: error 1"]


def test_output_that_is_not_text_and_large_output(capsys):
    assert start("os.write(1, b'\\xff\\n'); print('x' * 1_000_000)", 1) is None
    assert capsys.readouterr().out == "worker 0: \ufffd\n" + "worker 0: " + "x" * 1_000_000 + "\n"


def test_a_failure_ends_the_others_and_is_the_result(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(launch, "GRACE_PERIOD", 0.5)
    error = start(f"ready = pathlib.Path({str(tmp_path / 'ready')!r})" + """
if index == 1:
    while not ready.exists():
        time.sleep(0.02)
    print("keras-tricks: the disk is full", file=sys.stderr)
    print("Exception ignored in something", file=sys.stderr)
    sys.exit(7)
signal.signal(signal.SIGTERM, lambda *_: (print("told to end", flush=True), sys.exit(9)))
ready.touch()
time.sleep(600)
""")
    assert error.exit_code == 7
    assert str(error) == "worker 1 ended with exit code 7: the disk is full"
    assert "worker 0: told to end" in capsys.readouterr().out


def test_the_others_may_end_by_themselves_first(capsys):
    error = start("""
if index == 1:
    sys.exit(7)
time.sleep(0.5)
print("reported", flush=True)
sys.exit(2)
""")
    assert error.exit_code == 7 and str(error).startswith("worker 1 ended with exit code 7: it printed no error")
    assert "worker 0: reported" in capsys.readouterr().out


def test_a_worker_that_ignores_sigterm_is_killed(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_PERIOD", 0.5)
    error = start("""
if index == 0:
    os.kill(os.getpid(), signal.SIGABRT)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
""")
    assert error.exit_code == 128 + signal.SIGABRT


def test_a_killed_worker_is_named_not_its_last_line(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_PERIOD", 0.5)
    error = start("""
print("epoch 3", file=sys.stderr, flush=True)
if index == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
""")
    assert error.exit_code == 137
    assert str(error) == ("worker 1 ended with exit code 137: it was killed (SIGKILL), by hand or because memory was "
                          "short")


@pytest.fixture
def not_ignored():
    """A shell starts a background process with SIGINT ignored, which `launch` would respect."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on_once(number, tmp_path, capsys, not_ignored):
    before = signal.getsignal(number)
    error = start(f"""
received = []
signal.signal({int(number)}, lambda number, _: received.append(number))
folder = pathlib.Path({str(tmp_path)!r})
(folder / f"ready {{index}}").touch()
while len(list(folder.glob("ready *"))) < 2:
    time.sleep(0.02)
if index == 1:
    os.kill(os.getppid(), {int(number)})
while not received:
    time.sleep(0.02)
time.sleep(0.3)
print("received", *received, flush=True)
sys.exit(128 + received[0])
""")
    assert error.exit_code == 128 + number
    assert sorted(capsys.readouterr().out.splitlines()) == [f"worker {i}: received {int(number)}" for i in range(2)]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("arguments, words", [
    (["launch", "-n", "0", "--", "train", "quickstart"], "expected an integer of 1 or more. Received: '0'"),
    (["launch", "-n", "two", "--", "train", "quickstart"], "expected an integer of 1 or more. Received: 'two'"),
    (["launch", "--", "train", "quickstart"], "required: -n/--workers"),
    (["launch", "-n", "2"], "needs a command after --"),
    (["launch", "-n", "2", "--"], "needs a command after --"),
])
def test_bad_input(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.parse(["keras-tricks", *arguments]))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_the_words_after_the_dashes_are_the_command(monkeypatch):
    started = []
    monkeypatch.setattr(launch, "launch", lambda command, workers: started.append((command, workers)))
    cli.run(cli.parse(["keras-tricks", "launch", "-n", "3", "--", "train", "quickstart", "--set", "seed=1", "-n"]))
    assert started == [([sys.executable, "-m", "keras_tricks", "train", "quickstart", "--set", "seed=1", "-n"], 3)]


@pytest.mark.slow
def test_two_workers_train_the_quickstart(tmp_path):
    command = [sys.executable, "-m", "keras_tricks", "launch", "-n", "2", "--", "train", "quickstart",
               "--output", "run", "--set", "schedule.epochs=1", "--set", "export.formats=[]"]
    result = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                            text=True, timeout=240)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len((tmp_path / "run" / "summary.csv").read_text().splitlines()) == 2
    assert "32 x 2" in result.stderr  # images per replica, replicas
    assert all(line.startswith("worker ") for line in (result.stdout + result.stderr).splitlines())
