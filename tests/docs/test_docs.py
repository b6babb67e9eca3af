"""What the documentation is made from agrees with the package: tables, formulas, pictures, ablations."""

import csv
import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

import keras_tricks as kt
from keras_tricks.studies import ablation
from keras_tricks.utils import cards

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
TABLES = sorted((DOCS / "results" / "ablation").glob("*/ablation.csv"))
QUICK = ("resnet20", "resnet50d", "nf_resnet_cifar", "wide_resnet16_4", "mobilenet")


def models():
    with open(DOCS / "models.csv", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def rows_again(names):
    spec = importlib.util.spec_from_file_location("make_tables", DOCS / "make_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    return {name: tables.row(name) for name in names}


def test_the_table_of_models_has_every_model():
    assert list(models()) == [name for name in kt.models.list_models() if not name.startswith("test_")]


def test_the_table_of_models_is_what_the_package_says():
    assert {name: models()[name] for name in QUICK} == rows_again(QUICK)


@pytest.mark.slow
def test_the_whole_table_of_models_is_what_the_package_says():
    assert models() == rows_again(models())


def test_formulas_are_of_cards():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    formulas = tomllib.loads((DOCS / "formulas.toml").read_text())
    assert formulas.keys() <= {card.name for card in cards.cards()} and len(formulas) > 25


def test_the_readme_counts_the_models():
    assert re.search(r"# of (\d+): ResNet", (ROOT / "README.md").read_text())[1] == str(len(models()))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_tables_of_ablations_are_made_from_their_runs(path):
    rows, results = ablation.read_csv(path)
    table = ablation.table(rows, results)
    assert (path.parent / "ablation.md").read_text() == table + "\n"
    assert table in (path.parents[1] / "README.md").read_text()
    assert all(summary.runs == 3 for summary in ablation.summaries(rows, results))


@pytest.mark.docs
def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    site = tmp_path / "site"
    for card in cards.cards():
        place = "families" if card.folder == "models" else f"tricks/{card.folder}"
        assert card.folder == "analysis" or (site / place / card.name / "index.html").is_file()
    page = (site / "families" / "nfnet" / "index.html").read_text()
    assert "71,489,284" in page and "6.977" in page  # of nfnet_f0, docs/models.csv
    agc = (site / "tricks" / "optimizers" / "agc" / "index.html").read_text()
    assert "<mfrac>" in agc and "agc_clip_factor=0.01" in agc and "images/agc.png" in agc
