"""A named pipe in the place of a file: every reader answers in one line instead of waiting for a writer for ever."""

import os
import shutil

import pytest

from keras_tricks import cli
from keras_tricks.export.model_card import is_own_card
from keras_tricks.recipe import Recipe
from keras_tricks.report.kept import read_kept
from keras_tricks.run import folder
from keras_tricks.run.lock import locked, writer_of
from keras_tricks.utils import class_names
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import read_summary
from keras_tricks.weights import safetensors_io

ROW = "epoch,step,images,lr,batch_size,train_loss,val_loss,top1,top5,seconds\n1,4,32,0.1,8,1.0,1.0,50,90,1\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "recipe.json").write_text(Recipe().to_json())
    (tmp_path / "run" / "summary.csv").write_text(ROW)
    (tmp_path / "run" / "classes.json").write_text('["a", "b"]')
    return tmp_path / "run"


def replace_by_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name, read", [
    ("summary.csv", lambda run: read_summary(run)),
    ("classes.json", lambda run: class_names.of_run(run)),
    ("checkpoints/last.safetensors", lambda run: safetensors_io.read(run / "checkpoints" / "last.safetensors")),
    ("checkpoints/best.safetensors", lambda run: safetensors_io.read_metadata(run / "checkpoints/best.safetensors")),
])
def test_what_a_run_needs_is_named(run, name, read):
    replace_by_pipe(run / name)
    with pytest.raises(UserError, match=rf"{name} is a pipe, a socket or a device, and must be a file: remove it"):
        read(run)


@pytest.mark.parametrize("name", sorted({*folder.FILES} - {"recipe.json"}))
def test_training_refuses_it_before_the_first_step(run, name):
    replace_by_pipe(run / name)
    with pytest.raises(UserError, match=f"{name} is a pipe"):
        folder.check_entries(run)


def test_what_a_report_can_do_without_is_left_out(run):
    for name in ("env.json", "log.txt", ".owner"):
        replace_by_pipe(run / name)
    assert read_kept(run).environment == {} and read_kept(run).rejected == []
    assert writer_of(run) == ""
    shutil.rmtree(run / ".lock", ignore_errors=True)
    with locked(run):
        pass


def test_a_card_that_is_a_pipe_is_not_our_own(tmp_path):
    assert is_own_card(tmp_path / "README.md")
    assert not is_own_card(replace_by_pipe(tmp_path / "README.md"))


@pytest.mark.parametrize("words", [["compare", "RUN"], ["report", "RUN"], ["train", "--resume", "RUN"],
                                   ["export", "RUN"]])
def test_the_command_line_ends_with_one_line(run, words, capsys, monkeypatch):
    monkeypatch.chdir(run.parent)
    replace_by_pipe(run / "summary.csv")
    (run / "checkpoints" / "best.safetensors").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.parse(["keras-tricks", *(str(run) if word == "RUN" else word for word in words)]))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("keras-tricks")]
    assert stop.value.code == 2 and len(lines) == 1
