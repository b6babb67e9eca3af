"""Output that nobody reads, that is full or closed: a command that writes files finishes, others end with 141 or 1."""

import os
import pathlib
import subprocess
import sys

import pytest
from support.photos import made_run, photos, recipe

from keras_tricks import cli
from keras_tricks.cli import predict

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = f"{sys.executable} -m keras_tricks"


@pytest.mark.parametrize("words, writes", [
    (["train", "quickstart"], True), (["train", "quickstart", "--dry-run"], False), (["report", "run"], True),
    (["compare", "a"], True), (["export", "run"], True), (["reproduce", "run"], True), (["scale"], True),
    (["ablate", "quickstart", "--add", "agc"], True), (["ablate", "quickstart", "--add", "agc", "--dry-run"], False),
    (["predict", "run", "x.png"], False), (["predict", "run", "x.png", "--embeddings", "e.npy"], True),
    (["port", "args.yaml"], False), (["port", "args.yaml", "--output", "r.json"], True), (["list"], False),
    (["data", "check", "digits"], False), (["data", "pack", "digits", "--output", "o"], True),
    (["plan", "quickstart"], False), (["evaluate", "run"], False), (["doctor"], False)])
def test_which_commands_finish_without_a_reader(words, writes):
    assert bool(cli.writes(cli.parse(["keras-tricks", *words]))) == writes


def test_a_closed_standard_input_is_an_empty_list(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(cli.UserError, match="the list on standard input is empty"):
        predict.find_images(["-"])


# ---- in processes of their own


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    photos(folder / "photos")
    made_run(folder / "run", recipe(data={"source": "digits"}), tuple("0123456789"))
    (folder / "args.yaml").write_text("model: resnet50\nbatch_size: 128\nepochs: 90\nlr: 0.1\nopt: sgd\n")
    return folder


def shell(command, folder):
    """(exit code of the program, lines of its errors) of a line of bash."""
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("keras-tricks: ")]


TINY = "--set schedule.epochs=1 --set 'export.formats=[]'"
WRITTEN = {
    "train": (f"train quickstart {TINY} --output OUT", "OUT/summary.csv"),
    "report": ("report run --output OUT/report.html", "OUT/report.html"),
    "export": ("export run --format keras --output OUT", "OUT/model.keras"),
    "pack": ("data pack digits --output OUT", "OUT/dataset.json"),
    "predict": ("predict run photos --embeddings OUT/e.npy", "OUT/e.npy"),
    "port": ("port args.yaml --output OUT.json", "OUT.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["| true", "2>&1 | head -1", "> /dev/full", ">&-", ">&- 2>&-"])
@pytest.mark.parametrize("command", WRITTEN)
def test_what_writes_files_finishes(command, end, place, tmp_path):
    words, name = WRITTEN[command]
    out = str(tmp_path / command)
    code, lines = shell(f"{PROGRAM} {words.replace('OUT', out)} {end}", place)
    assert (code, lines) == (0, []) and pathlib.Path(name.replace("OUT", out)).exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list models", "plan quickstart --format json", "predict run photos",
                                     "evaluate run --format json", "data check digits", "port args.yaml", "doctor"])
def test_what_only_prints_does_not_end_with_0(command, place):
    assert shell(f"{PROGRAM} {command} | true", place)[0] in (0, 141)  # 0: the output fitted into the pipe
    code, lines = shell(f"{PROGRAM} {command} > /dev/full", place)
    assert code == 1 and len(lines) == 1 and "No space left" in lines[0]
