"""Every folder of the table in docs/results/layouts.md is read as the table says, or refused in one line."""

import pytest
from support.layouts import LAYOUTS, matches, summary, train
from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: F401

from keras_tricks import cli

NAMES = [layout.name for layout in LAYOUTS]


def test_the_table_is_long():
    assert len(set(NAMES)) == len(NAMES) > 60


@pytest.fixture
def made(request, tmp_path):
    """(layout, its folder)."""
    root = tmp_path / "data"
    root.mkdir()
    return request.param, request.param.make(root) or root


@pytest.mark.parametrize("made", LAYOUTS, ids=NAMES, indirect=True)
def test_a_folder_is_read_or_refused(made):
    layout, folder = made
    found = summary(folder)
    assert matches(found, layout.opens or layout.expected), found
    assert "\n" not in found


@pytest.mark.slow
@pytest.mark.parametrize("made", LAYOUTS, ids=NAMES, indirect=True)
def test_a_folder_is_trained_on_or_refused(made, tmp_path, capsys):
    def run(words):
        try:
            cli.run(cli.parse(["keras-tricks", *words]))
        except SystemExit as stopped:
            lines = capsys.readouterr().err.strip().splitlines()
            return stopped.code, lines[-1].removeprefix("keras-tricks: ")
        return 0, ""

    layout, folder = made
    found = train(folder, tmp_path / "run", run)
    assert matches(found, layout.expected), found


def test_a_training_folder_given_instead_of_its_parent_is_named(tmp_path, caplog):
    from support.layouts import fill

    from keras_tricks.data import open_source

    for split, count in (("train", 20), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            fill(tmp_path / split / name, label, count)
    with caplog.at_level("WARNING", logger="absl"):
        assert open_source("image_folder", tmp_path / "train").validation.num_examples == 4
    assert f"To validate on val/ beside it, give --data-dir {tmp_path}." in caplog.text
    caplog.clear()
    open_source("image_folder", tmp_path)
    assert not caplog.messages
