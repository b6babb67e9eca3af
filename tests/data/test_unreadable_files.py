"""Files that cannot be read: gone, forbidden, links to nothing. Counted as broken and named, in every way to read them.

`evaluated` and `trained` give the gray value of each image: file `a_03` has 23, `b_00` 40.
"""

import contextlib
import errno
import os
import pathlib
import stat
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from support.image_folders import evaluated, make_splits, trained, value

from keras_tricks import cli
from keras_tricks.data import open_source
from keras_tricks.data.check import check
from keras_tricks.data.sources import remote_split
from keras_tricks.data.sources.bad_images import TooManyBadImages
from keras_tricks.data.sources.image_files import check_image
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Data


@pytest.fixture
def folder():
    """16 training and 16 validation images. Not in `tmp_path`, which other users cannot enter."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        yield make_splits(pathlib.Path(root), count=8)


@contextlib.contextmanager
def without_privileges():
    """As another user than root, who may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def delete(path):
    path.unlink()


def forbid(path):
    path.chmod(0)


def replace_by_a_folder(path):
    path.unlink()
    path.mkdir()


AFTER_LISTING = {"deleted": (delete, "No such file"), "no permission": (forbid, "Permission denied"),
                 "a folder": (replace_by_a_folder, "it is a folder")}


def dangling(path):
    path.unlink()
    path.symlink_to("/nowhere/x.png")


def looping(path):
    path.unlink()
    path.symlink_to(path.name)


def huge(path):
    """A film or an archive with an image's name. No block is written."""
    with open(path, "wb") as file:
        file.truncate(3 * 2**30)


BEFORE_LISTING = {"dangling link": (dangling, "target does not exist"), "link loop": (looping, "symbolic links"),
                  "3 GiB": (huge, "it has 3.0 GiB"),
                  "no permission": (forbid, "Permission denied")}


def trained_values(split):
    return sorted(np.concatenate([value(images) for images, _ in trained(split, 2)]))


REPLACED = [*range(20, 23), 24, 24, *range(25, 28), *range(40, 48)]  # a_03 is broken, a_04 replaces it


def check_both_splits(source, folder, reason):
    assert trained_values(source.train) == REPLACED
    values, _, weights = evaluated(source.validation, 2)
    assert weights.tolist() == [1, 1, 1, 0] + [1] * 12 and sorted(values[weights > 0]) == sorted({*REPLACED})
    for name, split in (("train", source.train), ("val", source.validation)):
        assert list(split.bad.reasons) == [str(folder / name / "a" / "a_03.png")]
        assert reason in list(split.bad.reasons.values())[0]


@pytest.mark.parametrize("change, reason", AFTER_LISTING.values(), ids=AFTER_LISTING)
def test_a_file_that_is_lost_after_listing_is_replaced(folder, change, reason):
    source = open_source("image_folder", folder)
    for name in ("train", "val"):
        change(folder / name / "a" / "a_03.png")
    with without_privileges():
        check_both_splits(source, folder, reason)


@pytest.mark.parametrize("change, reason", BEFORE_LISTING.values(), ids=BEFORE_LISTING)
def test_a_file_that_cannot_be_read_is_replaced(folder, change, reason):
    for name in ("train", "val"):
        change(folder / name / "a" / "a_03.png")
    with without_privileges():
        check_both_splits(open_source("image_folder", folder), folder, reason)


def test_check_names_them_all(folder, capsys):
    changes = [dangling, looping, forbid]
    for number, change in enumerate(changes):
        change(folder / "train" / "a" / f"a_{number:02}.png")
    (folder / "train" / "a" / "a_03.png").rename(os.fsdecode(os.fsencode(folder / "train" / "a") + b"/caf\xe9.png"))
    with without_privileges():
        cli.run(cli.parse(["keras-tricks", "data", "check", "image_folder", "--data-dir", str(folder)]))
    lines = capsys.readouterr().out.splitlines()
    assert "training           16 images" in lines and "broken              4" in lines
    for text in ("a_00.png: a link whose target", "a_01.png: Too many levels", "a_02.png: Permission denied",
                 r"caf\xe9.png: its name is not UTF-8: rename it"):
        assert sum(text in line for line in lines) == 1, lines


def test_more_than_allowed_stop_with_their_names(folder):
    for number in range(3):
        dangling(folder / "train" / "a" / f"a_{number:02}.png")
    assert open_source("image_folder", folder, max_bad_images=3).train.num_examples == 16
    with pytest.raises(TooManyBadImages, match="3 images cannot be read, more than .*a_00.png"):
        open_source("image_folder", folder, max_bad_images=2)
    assert any("a_02.png" in line for line in check("image_folder", folder))


def test_they_are_not_packed(folder, tmp_path, caplog):
    dangling(folder / "train" / "a" / "a_03.png")
    source = open_source("image_folder", folder)
    (folder / "val" / "b" / "b_07.png").unlink()
    with caplog.at_level("WARNING", logger="absl"):
        description = pack(source, tmp_path / "shards")
    assert [part["examples"] for part in description["splits"].values()] == [15, 15]
    assert [message.split("/")[-1] for message in caplog.messages] == [
        "a_03.png: a link whose target does not exist", "b_07.png: No such file or directory"]


# ---- the workers of a data service


@pytest.fixture
def photographs():
    with tempfile.TemporaryDirectory() as root:
        yield make_splits(pathlib.Path(root), count=8, suffix=".jpg", kind="JPEG")


def fetched(split):
    return [(int(label), bool(intact)) for _, label, intact in
            tf.data.Dataset.range(split.num_examples).map(split.fetch).as_numpy_iterator()]


def test_workers_leave_them_to_the_trainer(photographs):
    """Labels are those of the class, in sub-folders as well."""
    inner = photographs / "train" / "a" / "sub"
    inner.mkdir()
    (photographs / "train" / "a" / "a_00.jpg").rename(inner / "a_00.jpg")
    dangling(photographs / "train" / "a" / "a_03.jpg")
    source = open_source("image_folder", photographs)
    split = remote_split.remote_split(Data(source="image_folder", data_dir=str(photographs)), source)
    (photographs / "train" / "b" / "b_05.jpg").unlink()
    names = [pathlib.Path(path).stem for path in source.train.paths]
    expected = [(int(name[0] == "b"), name not in ("a_03", "b_05")) for name in names]
    assert fetched(split) == expected and names[7] == "a_00"


def test_workers_without_the_data_fail(photographs):
    source = open_source("image_folder", photographs)
    split = remote_split.remote_split(Data(source="image_folder", data_dir=str(photographs)), source)
    (photographs / "train").rename(photographs / "elsewhere")
    with pytest.raises(tf.errors.NotFoundError, match="a_00.jpg"):
        fetched(split)


def test_workers_without_the_shards_fail(photographs, tmp_path):
    pack(open_source("image_folder", photographs), tmp_path / "shards")
    split = remote_split.remote_record_split(tmp_path / "shards", "train")
    assert all(intact for _, intact in fetched(split))
    (tmp_path / "shards").rename(tmp_path / "elsewhere")
    with pytest.raises(tf.errors.NotFoundError, match="train-00000-of-00001.tfrecord"):
        fetched(split)


# ---- what is never opened, and what passes


@pytest.mark.parametrize("kind, reason", [("pipe", "it is a named pipe"), ("device", "it is a device"),
                                          ("folder", "it is a folder"), ("large", "it has 3.0 GiB")])
def test_only_regular_files_are_opened(tmp_path, kind, reason):
    path = tmp_path / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        huge(path)
    else:
        path.mkdir()
    with pytest.raises(ValueError, match=reason):
        check_image(path)


def test_a_pipe_that_replaces_a_file_between_two_looks_is_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "x.jpg")
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((stat.S_IFREG, *[0] * 9)))
    with pytest.raises(ValueError, match="it is a named pipe"):
        check_image(tmp_path / "x.jpg")


def test_a_stale_handle_is_tried_again(folder, monkeypatch):
    """As a network file system returns it after its server was restarted."""
    path, real, errors = folder / "train" / "a" / "a_03.png", os.open, [errno.ESTALE] * 2

    def stale(name, *args, **kwargs):
        if os.fspath(name) == str(path) and errors:
            raise OSError(errors.pop(), "Stale file handle")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", stale)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert check_image(path) == path.read_bytes() and not errors
    errors += [errno.ESTALE] * 4
    with pytest.raises(ValueError, match="Stale file handle"):
        check_image(path)
