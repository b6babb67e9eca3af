"""Atomic replacement of files, and errors of folders that cannot be written."""

import concurrent.futures
import errno
import tempfile

import pytest

from keras_tricks.utils.atomic_files import atomic_write, writable_folder
from keras_tricks.utils.errors import UserError


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old" and partial.suffix == ".csv"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_left_as_it_was_when_the_block_fails(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for flag, error in ((None, OSError), ("--plot", UserError)):
        with pytest.raises(error), atomic_write(tmp_path / "file" / "a.csv", flag) as partial:
            partial.write_text("")
    with pytest.raises(UserError, match="a.csv cannot be written .*. Give --plot another name"):
        with atomic_write(tmp_path / "file" / "a.csv", "--plot") as partial:
            partial.write_text("")
    with pytest.raises(UserError, match="output folder .* cannot be written .*: give --output"):
        writable_folder(tmp_path / "file" / "folder")
    assert writable_folder(tmp_path / "new" / "folder").is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_a_full_disk_asks_for_space(tmp_path, monkeypatch):
    """Another name on the same disk would not help."""
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="No space left on device.*Free some space, or give --plot another name"):
        with atomic_write(tmp_path / "a.png", "--plot"):
            full()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(UserError, match="free some space, or give --output another folder"):
        writable_folder(tmp_path)


def test_several_processes_may_try_one_folder_at_the_same_moment(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(writable_folder, [tmp_path / "run"] * 2000)) == {tmp_path / "run"}
