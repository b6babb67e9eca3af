"""Data that people have and that cannot be trained on: each ends with one line and exit code 2, or is read.

    python tests/cli/test_bad_data.py    # prints the table of inputs and lines
"""

import contextlib
import io
import os
import pathlib
import re
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: E402, F401

from keras_tricks import cli  # noqa: E402

MODULE = '''
def raises(data):
    raise RuntimeError("no disk")

def number(data):
    return 3

def batched(data):
    return _dataset().batch(4), _dataset().batch(4)

def infinite(data):
    return _dataset().repeat(), _dataset()

def unknown(data):
    return _dataset().filter(lambda x, y: True), _dataset()

def _dataset():
    import numpy as np
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((np.zeros((20, 8, 8, 3), "uint8"), np.arange(20) % 2))

VALUE = 1
'''


def rows(count=20, label=lambda i: "cat" if i % 2 else "dog", path="images/{}.png"):
    return [f"{path.format(i)},{label(i)}" for i in range(count)]


def csv(lines, header="path,label", encoding="utf-8"):
    """A source of a CSV file with these lines."""
    def write(folder):
        (folder / "photos.csv").write_bytes("\n".join([*([header] if header else []), *lines, ""]).encode(encoding))
        return ["data.source=csv", f"data.data_dir={folder / 'photos.csv'}"]

    return write


def out_of_range(folder):
    (folder / "classes.txt").write_text("dog\ncat\n")
    return csv(rows(label=lambda i: i % 3))(folder)


def hf_without_images(folder):
    hub = pytest.importorskip("datasets")
    hub.DatasetDict({"train": hub.Dataset.from_dict({"text": ["a"] * 20, "label": [0, 1] * 10})}).save_to_disk(
        folder / "hf")
    return [f"data.source=hf:{folder / 'hf'}"]


def source(path):
    return lambda folder: [f"data.source={path}"]


def weights(text):
    return lambda folder: [*csv(rows())(folder), f"loss.class_weight={text}"]


REFUSED = {
    "missing files": (lambda f: [*csv(rows() + ["none.png,cat", "gone.png,dog"])(f), "data.max_bad_images=1"],
                      r"2 images cannot be read, more than `data.max_bad_images`=1: .*none.png \(No such file"),
    "one image with two labels": (csv(rows() + ["images/0.png,cat"]), r"images/0.png has the label 'dog' in line 2 and "
                                                                      r"'cat' in line 22. Keep one of them"),
    "a label out of range": (out_of_range, r"the label '2' \(line 4, line 7, line 10, 3 more\) is not a name of the 2 "
                                           r"classes, or a number from 0 to 1"),
    "a negative label": (csv(rows(label=lambda i: i % 2 - 1)), "a label must be a name or a whole number from 0"),
    "no header": (csv(rows(), header=None), "has no header: its first line must name the columns, path,label"),
    "drive letters of Windows": (csv(rows(path="C:\\images\\{}.png")),
                                 "it is a path of Windows; write paths relative to the CSV file"),
    "HF without an image column": (hf_without_images, r"has no column of images. Its columns: text \(Value\)"),
    "HF that does not exist": (source("hf:./nothing"), "the folder nothing does not exist"),
    "a module that does not exist": (source("nothing_here:open"), "there is no module nothing_here"),
    "a name that does not exist": (source("bad_data_module:opn"), "bad_data_module has no opn"),
    "a function that raises": (source("bad_data_module:raises"), "the function failed: RuntimeError: no disk"),
    "a function that returns a number": (source("bad_data_module:number"), "must be .* Received: int"),
    "no function": (source("bad_data_module:VALUE"), "which is not a function but int"),
    "one class only": (csv(rows(label=lambda i: "cat")), r"has one class \(cat\), so there is nothing to classify"),
    "a class weight for an unknown class": (weights('{"cow": 2}'), "has the class 'cow', and .* has no such class"),
    "a batched tf.data.Dataset": (source("bad_data_module:batched"), r"\[0\] is batched: .*dataset.unbatch\(\)"),
    "an infinite one": (source("bad_data_module:infinite"), r"\[0\] has no end. .* leave out repeat\(\)"),
    "one of unknown length": (source("bad_data_module:unknown"), r"\[0\] has an unknown length. Set it: "),
    "several labels with the wrong loss": (lambda f: [*csv(rows())(f), "data.multi_label=true"],
                                           "--set loss.name=binary_crossentropy"),
    "class weights with several labels": (
        lambda f: [*weights("balanced")(f), "data.multi_label=true", "loss.name=binary_crossentropy"],
        "`loss.class_weight` needs one label an image"),
    "a row without labels": (lambda f: [*csv(rows() + ["images/3.png,"])(f), "data.multi_label=true",
                                        "loss.name=binary_crossentropy"], "line 22: the cell of label is empty"),
    "grey with the mean of colours": (lambda f: [*csv(rows())(f), "data.channels=1"],
                                      r"`data.mean` has 3 numbers, and `data.channels` is 1"),
}
READ = {
    "duplicate rows": csv(rows() + rows(2)),
    "a byte order mark": csv(rows(), encoding="utf-8-sig"),
    "UTF-16": csv(rows(), encoding="utf-16"),
    "backslashes of Windows": csv(rows(path="images\\{}.png")),
    "one missing file": csv(rows() + ["none.png,cat"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("bad"))


def prepared(folder):
    (folder / "images").mkdir()
    for i in range(20):
        Image.fromarray(np.full((8, 8, 3), 10 * i, "uint8")).save(folder / "images" / f"{i}.png")
    (folder / "bad_data_module.py").write_text(MODULE)
    return folder


@contextlib.contextmanager
def in_folder(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def line_of(make, folder):
    """(exit code, standard error) of a plan for the data that `make` describes."""
    (folder / "classes.txt").unlink(missing_ok=True)
    assignments = make(folder)
    with in_folder(folder), contextlib.redirect_stderr(io.StringIO()) as error, \
            contextlib.redirect_stdout(io.StringIO()):
        words = [word for assignment in assignments for word in ("--set", assignment)]
        small = ["--set", "schedule.batch_size=4", "--set", "schedule.epochs=1"]
        try:
            cli.run(cli.parse(["keras-tricks", "plan", "quickstart", *small, *words]))
        except SystemExit as stop:
            return stop.code, error.getvalue()
    return 0, error.getvalue()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_line(folder, name):
    make, expected = REFUSED[name]
    code, line = line_of(make, folder)
    assert code == 2 and len(line.strip().splitlines()) == 1, line
    assert re.search(expected, line), line


@pytest.mark.parametrize("name", READ)
def test_read(folder, name):
    assert line_of(READ[name], folder)[0] == 0


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder = prepared(pathlib.Path(scratch))
        for name, (make, _) in REFUSED.items():
            code, line = line_of(make, folder)
            print(f"| {name} | {code} | {line.strip().replace(scratch, 'DIR')} |")
        for name, make in READ.items():
            print(f"| {name} | {line_of(make, folder)[0]} | read |")


if __name__ == "__main__":
    main()
