"""Import paths: what is found, and one line for everything else."""

import sys

import pytest

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.import_path import is_import_path, load_object


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """A folder of the user, with the search path of a console script: the current folder is not in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_function_of_a_module_in_the_current_folder(in_folder):
    (in_folder / "own_module.py").write_text("class Maker:\n    @staticmethod\n    def make():\n        return 3\n")
    assert load_object("own_module:Maker.make", "model.name")() == 3


def test_a_function_of_an_installed_package():
    import json.decoder

    assert load_object("json.decoder:JSONDecoder", "data.source") is json.decoder.JSONDecoder


def test_an_installed_module_comes_first(in_folder):
    (in_folder / "json.py").write_text("raise RuntimeError\n")
    assert load_object("json:loads", "data.source")("1") == 1


@pytest.mark.parametrize("path, message", [
    ("no_module_of_this_name:x", "there is no module no_module_of_this_name"),
    ("json.no_part:x", "there is no module json.no_part"),
    ("json:load_s", 'json has no load_s. Did you mean "loads"?'),
    ("json", "must be an import path"),
    ("own.py:make", "there is no module own"),
    ("a/b.py:make", "must be an import path"),
    ("json:", "must be an import path"),
    ("raises:x", "importing raises failed: RuntimeError: no camera"),
    ("lacks:x", "importing lacks failed: ModuleNotFoundError: No module named 'no_dependency'"),
    ("leaves:x", "importing leaves failed: SystemExit: 3"),
    ("wrong:x", "importing wrong failed: SyntaxError"),
])
def test_errors_are_one_line(in_folder, path, message):
    (in_folder / "raises.py").write_text("raise RuntimeError('no camera\\nsecond line')\n")
    (in_folder / "lacks.py").write_text("import no_dependency\n")
    (in_folder / "leaves.py").write_text("raise SystemExit(3)\n")
    (in_folder / "wrong.py").write_text("def\n")
    with pytest.raises(UserError) as caught:
        load_object(path, "data.source")
    assert message in str(caught.value) and "data.source" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text, expected", [
    ("a.b:c", True), ("a:b.c", True), ("tfds:cifar10", True), ("hf:user/name", False), ("a", False), ("", False),
    ("C:\\data", False), ("a-b:c", False),
])
def test_the_form(text, expected):
    assert is_import_path(text) is expected
