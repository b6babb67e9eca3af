"""What a notebook shows during `kt.train`, and its result."""

import pathlib
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image
from support.photos import made_run, photos, recipe
from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: F401

import keras_tricks as kt
from keras_tricks.run import notebook
from keras_tricks.run.notebook import run_as_html
from keras_tricks.training import Run


def test_a_run_shows_its_numbers_and_curves(tmp_path):
    folder, network = made_run(tmp_path / "run <1>", recipe())
    Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(folder / "curves.png")
    text = Run({}, network, folder, network)._repr_html_()
    assert "50.00 %, after epoch 1" in text and "1 of 1" in text and "data:image/png;base64," in text
    assert "run &lt;1&gt;" in text and "<script" not in text and "http" not in text
    (folder / "curves.png").unlink()
    assert "<img" not in run_as_html(folder, {})


def test_a_dry_run_and_a_folder_that_is_gone(tmp_path):
    text = run_as_html(None, {"loss": [1.25, 1.5], "x": []})
    assert "dry run" in text and "1.5" in text and "1.25" not in text
    assert "is not there any more" in run_as_html(tmp_path / "gone", {})
    folder, _ = made_run(tmp_path / "run", recipe())
    (folder / "summary.csv").write_text("epoch\nx\n")
    assert "is damaged" in run_as_html(folder, {})


@pytest.fixture
def shown(monkeypatch):
    """What a kernel was asked to show: a list of (number of the display, HTML text)."""
    found = []

    class Handle:
        def __init__(self, number):
            self.number = number

        def update(self, shown):
            found.append((self.number, shown))

    def display(shown, display_id):
        handle = Handle(len({number for number, _ in found}))
        handle.update(shown)
        return handle

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML, ipython.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setattr(notebook, "BAR_SECONDS", 0.0)
    return found


def test_one_bar_and_live_curves_of_the_whole_run(tmp_path, shown, capsys):
    photos(tmp_path / "data", count=20)
    own = recipe(tmp_path / "data", schedule={"epochs": 2, "batch_size": 16})
    kt.train(own, tmp_path / "run")
    assert {number for number, _ in shown} == {0}, "one display, which is updated"
    done = [float(re.search(r'value="([\d.]+)"', text)[1]) for _, text in shown]
    assert done[0] == 0.0 and done[-1] == 2.0 and done == sorted(done) and len(done) > 6
    assert all('max="2"' in text and "photos: epoch" in text for _, text in shown)
    assert any("step 2 of 3, loss" in text for _, text in shown)
    assert "validation top-1" in shown[-1][1] and "data:image/png;base64," in shown[-1][1]
    assert capsys.readouterr().out == "", "Keras prints nothing beside it"
    shown.clear()
    kt.train(own, dry_run=True, verbose=0)
    assert shown == []


def test_a_shell_without_a_kernel_is_no_notebook(monkeypatch):
    assert not notebook.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: object()))
    assert not notebook.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not notebook.in_notebook()


@pytest.mark.slow
def test_in_a_real_kernel(tmp_path):
    """With nbclient and ipykernel, which are not in the test environment: `pip install nbclient ipykernel`."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    root = pathlib.Path(__file__).parents[2]
    cell = (f"import sys; sys.path.insert(0, {str(root)!r})\nimport keras_tricks as kt\n"
            "run = kt.train(kt.load_recipe('quickstart').override(['schedule.epochs=1', 'export.formats=[]']), 'run')")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3",
                            resources={"metadata": {"path": str(tmp_path)}}).execute()
    pages = [output.data["text/html"] for output in book.cells[0].outputs if output.output_type == "display_data"]
    assert len(pages) == 1 and "epoch 1 of 1" in pages[0] and "data:image/png" in pages[0]
