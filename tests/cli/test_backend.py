"""The backend of Keras is checked before Keras is imported: one line that says what is wrong and what to set."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

from keras_tricks.cli import backend
from keras_tricks.utils.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '{"floatx": "float32"}', '"jax"', "[" * 5000])
def test_a_settings_file_that_names_none(content, tmp_path):
    (tmp_path / "keras.json").write_text(content)
    assert backend.configured_backend({"KERAS_HOME": str(tmp_path)}) == ("tensorflow", "the default")


def test_the_variable_comes_before_the_file(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    home = {"KERAS_HOME": str(tmp_path)}
    assert backend.configured_backend(home) == ("jax", str(tmp_path / "keras.json"))
    assert backend.configured_backend({**home, "KERAS_BACKEND": "torch"}) == ("torch", "KERAS_BACKEND")
    assert backend.configured_backend({**home, "KERAS_BACKEND": ""})[0] == "jax"


@pytest.mark.parametrize("name, command, installed, words", [
    ("foo", "list", (), "'foo' .KERAS_BACKEND. is not a backend of Keras: tensorflow, jax, torch, numpy, openvino"),
    ("TensorFlow", "list", (), 'Did you mean "tensorflow"'), ("tensorflow,jax", "list", (), "is not a backend"),
    ("jax", "list", (), "backend jax .KERAS_BACKEND. is not installed: pip install jax or set KERAS_BACKEND"),
    ("tensorflow", "plan", (), "backend tensorflow .KERAS_BACKEND. is not installed: pip install tensorflow"),
    ("numpy", "train", ("numpy",), "needs a backend that trains: tensorflow, jax, torch. Received: numpy"),
    ("jax", "train", ("jax",), "reads images with tf.data on every backend, and TensorFlow is not installed"),
])
def test_what_is_wrong_with_it(name, command, installed, words, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(backend, "is_installed", lambda package: package in installed)
    with pytest.raises(UserError, match=words):
        backend.check_backend(command)


@pytest.mark.parametrize("name, command", [("numpy", "list"), ("jax", "compare"), ("jax", "train")])
def test_what_is_right(name, command, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(backend, "is_installed", lambda package: True)
    backend.check_backend(command)


@pytest.mark.slow
@pytest.mark.parametrize("package, words", [
    ("tensorflow", ["plan", "quickstart"]), ("keras", ["list", "models"]), ("numpy", ["list", "models"]),
    ("pydantic", ["list", "recipes"]), ("matplotlib", ["train", "quickstart", "--set", "schedule.epochs=1"]),
    ("safetensors", ["train", "quickstart", "--set", "schedule.epochs=1"])])
def test_a_package_that_cannot_be_imported(package, words, tmp_path):
    """As after an update that replaced a library which the package was linked against."""
    packages, here = tmp_path / "packages", tmp_path / "here"
    (packages / package).mkdir(parents=True)
    (packages / package / "__init__.py").write_text("raise ImportError('libx.so.12: cannot open shared object file')")
    here.mkdir()
    done = subprocess.run([sys.executable, "-m", "keras_tricks", *words], cwd=here, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])})
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 2) and "libx.so.12" in lines[-1], done.stderr[-2000:]
    assert len(lines) == 1 or words[0] == "train", "a run has printed lines before it needs the package"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", ["jax/__init__.py", "jax.py"])
def test_a_folder_that_hides_the_package(file, tmp_path, monkeypatch):
    """`python -m keras_tricks` looks for packages in the working directory first."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: types.SimpleNamespace(origin=str(path)))
    with pytest.raises(UserError, match=f"{file} would be imported in place of the package jax: start the command in"):
        backend.check_not_hidden("jax")


def test_a_folder_without_code_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "keras").mkdir()
    monkeypatch.chdir(tmp_path)
    backend.check_not_hidden("keras")
