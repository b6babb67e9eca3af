"""The result of `kt.train` in a notebook."""

import numpy as np
from PIL import Image
from support.photos import made_run, recipe

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
