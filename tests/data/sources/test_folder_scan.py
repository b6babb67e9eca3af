"""Which files of a folder are images: formats, links, sub-folders, and what is left out with a line."""

import errno
import os
import socket

import pytest
from PIL import Image
from support.image_folders import content

from keras_tricks.data.sources.file_access import retry
from keras_tricks.data.sources.folder_scan import SUFFIXES, LeftOut, list_images, scan_classes
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

PNG = content(50)
# Documents, films and tables of numbers, which Pillow opens or hands to other programs.
NO_IMAGES = {".eps", ".ps", ".mpg", ".mpeg", ".wmf", ".emf", ".h5", ".hdf", ".fit", ".fits", ".grib", ".bufr", ".iim"}


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def listed(root):
    """(relative paths, {reason: first names}, {suffix: count})."""
    left_out = LeftOut()
    images = list_images(root, left_out)
    names = lambda paths: [os.path.relpath(path, root) for path in paths]  # noqa: E731
    return (names(image.path for image in images), {why: names(paths) for why, paths in left_out.examples.items()},
            dict(left_out.suffixes))


def test_every_format_of_pillow_is_an_image():
    Image.init()
    opened = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    assert opened - NO_IMAGES <= SUFFIXES and not SUFFIXES & NO_IMAGES


def test_suffixes_in_any_case_or_none(tmp_path):
    names = ["1.jpg", "2.JPEG", "3.Png", "4.webp", "5.GIF", "6.tif", "7.TIFF", "8.jfif", "9.bmp", "ILSVRC2012_val_1"]
    write(tmp_path, *names, "notes.txt", "a.JSON", ".hidden.jpg", "photo.jpg.part")
    assert listed(tmp_path) == (sorted(names), {}, {".txt": 1, ".json": 1, ".part": 1})


def test_sub_folders_are_read_and_hidden_and_system_folders_are_not(tmp_path):
    names = ["1.jpg", "2019/2.jpg", "2019/summer/3.jpg", "v1.0/4.jpg"]
    write(tmp_path, *names, ".cache/x.jpg", "__MACOSX/._1.jpg", "2019/@eaDir/1.jpg")
    images, left_out, _ = listed(tmp_path)
    assert images == sorted(names)
    assert left_out == {"a hidden folder": [".cache"],
                        "a folder of the operating system": ["__MACOSX", "2019/@eaDir"]}


def test_pipes_sockets_devices_and_folders_with_an_images_name_are_left_out(tmp_path):
    write(tmp_path, "1.jpg", "folder.jpg/inside.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe without suffix")
    os.symlink("/dev/zero", tmp_path / "zero.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket must be short
        try:
            server.bind("socket.jpg")
        finally:
            os.chdir(here)
    images, left_out, _ = listed(tmp_path)
    assert images == ["1.jpg"]
    assert left_out == {"a named pipe": ["pipe without suffix", "pipe.jpg"], "a device": ["zero.png"],
                        "a socket": ["socket.jpg"], "a folder with an image's name": ["folder.jpg"]}


def test_links_that_lead_nowhere_and_names_that_are_not_utf8_are_listed_as_broken(tmp_path):
    write(tmp_path, "1.jpg")
    os.symlink("/nowhere/1.jpg", tmp_path / "dangling.jpg")
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    with open(odd, "wb") as file:
        file.write(PNG)
    reasons = {os.path.basename(image.path): image.reason for image in list_images(tmp_path, LeftOut())}
    assert reasons == {
        "1.jpg": "", "dangling.jpg": "a link whose target does not exist",
        "loop.jpg": "Too many levels of symbolic links", os.path.basename(odd): "its name is not UTF-8: rename it",
    }


@pytest.mark.parametrize("name, text", [
    ("a/ä 1.jpg", "a/ä 1.jpg"), (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"), ("two\nlines", r"two\nlines"),
    ("\x1b[31m", r"\x1b[31m"),
])
def test_names_are_printed_as_one_line_of_utf8(name, text):
    assert printable(name) == text
    text.encode()


def test_a_file_that_two_names_lead_to_is_listed_once(tmp_path):
    write(tmp_path, "b.jpg", "sub/c.jpg")
    os.symlink("b.jpg", tmp_path / "a.jpg")  # comes before its target
    os.symlink("sub/c.jpg", tmp_path / "d.jpg")
    os.link(tmp_path / "b.jpg", tmp_path / "hard.jpg")
    os.symlink("sub", tmp_path / "again")
    images, left_out, _ = listed(tmp_path)
    assert images == ["b.jpg", "sub/c.jpg"]
    assert left_out == {"a link to a folder that is read already or holds the link": ["again"],
                        "a link to an image that is read already": ["hard.jpg", "a.jpg", "d.jpg"]}


def test_links_to_other_places_are_read(tmp_path):
    """Also two links to equal files, and one image in two classes."""
    write(tmp_path / "elsewhere", "1.jpg", "2.jpg", "more/3.jpg")
    root = write(tmp_path / "root", "cat/0.jpg")
    os.symlink(tmp_path / "elsewhere" / "1.jpg", root / "cat" / "1.jpg")
    os.symlink(tmp_path / "elsewhere" / "2.jpg", root / "cat" / "2.jpg")
    os.symlink(tmp_path / "elsewhere" / "more", root / "cat" / "more")
    os.symlink(tmp_path / "elsewhere", root / "dog")
    listing = scan_classes(root)
    assert [len(paths) for paths in listing.files] == [4, 3] and not listing.left_out.counts


@pytest.mark.parametrize("target", [".", "..", "../..", "../cat"])
def test_folders_that_hold_links_to_themselves_end(tmp_path, target):
    root = write(tmp_path / "root", "cat/1.jpg", "dog/2.jpg")
    os.symlink(target, root / "cat" / "up")
    listing = scan_classes(root)
    assert [len(paths) for paths in listing.files] == [1, 1] and sum(listing.left_out.counts.values()) == 1


def test_empty_classes_are_left_out_and_those_without_an_image_are_refused(tmp_path):
    root = write(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (root / "empty").mkdir()
    (root / "nested" / "empty").mkdir(parents=True)
    assert scan_classes(root).classes == ("cat", "dog")
    assert scan_classes(root).left_out.counts == {"an empty folder": 2}
    write(root, "labels/labels.csv", "labels/more.txt")
    with pytest.raises(UserError, match=r"labels has no image \(JPEG, PNG.*2 not read: .*1 .csv, 1 .txt"):
        scan_classes(root)


def test_images_beside_the_class_folders(tmp_path):
    write(tmp_path, "1.jpg", "2.png", "README")
    with pytest.raises(UserError, match="has 2 images but no class folder: expected one sub-folder per class"):
        scan_classes(tmp_path)
    listing = scan_classes(write(tmp_path, "cat/1.jpg"))
    assert listing.left_out.counts == {"an image outside the class folders": 2}
    assert listing.left_out.suffixes == {"without suffix": 1}


def test_a_class_name_that_is_not_utf8_is_refused(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"caf\\xe9 is not UTF-8: rename it"):
        scan_classes(tmp_path)


# ---- identity


def test_the_identity_is_that_of_names_and_sizes_wherever_the_folder_is(tmp_path):
    identities = [scan_classes(write(tmp_path / name, "cat/1.jpg", "dog/sub/2.jpg")).identity for name in "ab"]
    assert identities[0] == identities[1] and len(identities[0]) == 64


@pytest.mark.parametrize("change", [
    lambda root: (root / "cat" / "1.jpg").write_bytes(PNG + b"\0"),
    lambda root: (root / "cat" / "1.jpg").rename(root / "cat" / "3.jpg"),
    lambda root: (root / "cat" / "1.jpg").rename(root / "dog" / "1.jpg"),
    lambda root: write(root, "cat/3.jpg"),
    lambda root: (root / "dog").rename(root / "wolf"),
])
def test_another_name_or_size_is_another_identity(tmp_path, change):
    root = write(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/2.jpg")
    before = scan_classes(root).identity
    change(root)
    assert scan_classes(root).identity != before


# ---- errors that pass


def failing(times, number):
    """A function that raises an `OSError` so many times before it returns."""
    left = [number] * times

    def function():
        if left:
            raise OSError(left.pop(), "no")
        return "done"

    return function


def test_a_stale_handle_is_tried_again(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    assert retry(failing(3, errno.ESTALE)) == "done" and waits == [0.1, 0.3, 1.0]
    with pytest.raises(OSError):
        retry(failing(4, errno.ESTALE))
    with pytest.raises(OSError):
        retry(failing(1, errno.ENOENT))
    assert len(waits) == 6


@pytest.mark.parametrize("names", [["recipe.json", "env.json", "curves.png"], ["scaling.csv", "scaling.png"],
                                   ["ablation.csv", "runs/x", "ablation.png"]])
def test_results_in_the_data_folder_are_no_class(names, tmp_path):
    """`train --data-dir .` writes to `./runs`, and `ablate` to `./ablation`, beside the class folders."""
    write(tmp_path, "cat/1.png", "dog/1.png")
    before = scan_classes(tmp_path)
    write(tmp_path, *(f"{folder}/{name}" for folder in ("study", "runs/mine", "cat/run") for name in names))
    after = scan_classes(tmp_path)
    assert (after.classes, after.files, after.identity) == (before.classes, before.files, before.identity)
    assert after.left_out.counts["a folder that keras-tricks wrote"] == 3


def test_a_class_with_a_recipe_of_food_is_a_class(tmp_path):
    write(tmp_path, "cake/1.png", "cake/recipe.json")
    assert scan_classes(tmp_path).classes == ("cake",)
