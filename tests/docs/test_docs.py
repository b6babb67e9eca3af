"""The sources of the documentation agree with the package: tables, formulas, pictures, ablations."""

import csv
import fnmatch
import functools
import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

import keras_tricks as kt
import keras_tricks.cli
import keras_tricks.recipe
from keras_tricks.studies import ablation
from keras_tricks.utils import cards

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
TABLES = sorted((DOCS / "results" / "ablation").glob("*/ablation.csv"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
RETIRED = ("meets", "mend", "patience", "stranger", "in words", "Runs that survive", "The way data flow",
           "Room by room")
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


def test_the_readme_has_the_table_of_backends():
    """`benchmarks/backends_table.py` writes both."""
    between = re.compile("<!-- backends_table: begin -->(.*?)<!-- backends_table: end -->", re.DOTALL)
    sections = {between.search(page.read_text())[1] for page in (ROOT / "README.md", DOCS / "replicas.md")}
    assert len(sections) == 1 and "jax: ours" in sections.pop()


def test_links_lead_to_files_of_the_repository():
    """On GitHub, where the pages that the site makes do not exist."""
    dead = []
    for page in PAGES:
        if DOCS / "templates" in page.parents:
            continue
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
            if "://" not in link and not (page.parent / link).exists():
                dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert dead == []


def test_files_that_texts_name_exist():
    named = [(page, name) for page in PAGES if page.name != "renamed.md" for name in re.findall(
        r"`((?:keras_tricks|tests|benchmarks|examples|recipes|docs)/[\w./]+)`", page.read_text())]
    assert len(named) > 40
    assert [f"{page.relative_to(ROOT)}: {name}" for page, name in named if not (ROOT / name).exists()] == []


def test_the_tests_of_the_cases_exist():
    page = (DOCS / "results" / "reliability" / "cases.md").read_text().partition("## Variants")[0]
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 51))
    named = [name for _, cell in rows for name in re.findall(r"`([\w./]+\.py)", cell)]
    assert len(named) >= 50
    assert [n for n in named if not (ROOT / n).exists() and not (ROOT / "tests" / n).exists()] == []


def renamed(part):
    """[(old, new)] of the tables of docs/renamed.md under the headings that contain `part`: what is in backticks."""
    sections = re.split(r"^## ", (DOCS / "renamed.md").read_text(), flags=re.MULTILINE)
    rows = [row.split("|")[1:-1] for section in sections if part in section.partition("\n")[0]
            for row in section.splitlines() if row.startswith("| ") and "`" in row]
    return [(re.findall(r"`([^`]+)`", row[-2]), re.findall(r"`([^`]+)`", row[-1])) for row in rows]


def test_new_names_of_files_exist():
    rows = renamed("Files of the")
    assert len(rows) > 50
    assert [new for _, news in rows for new in news if not (ROOT / new).exists()] == []


def test_new_names_of_functions_exist():
    known = {word for path in (ROOT / "keras_tricks").rglob("*.py") for word in re.findall(r"\w+", path.read_text())}
    rows = renamed("Functions, classes") + renamed("rendezvous")
    names = [re.match(r"[\w.]+", new)[0].rpartition(".")[2] for _, news in rows for new in news]
    assert len(names) > 80
    assert [name for name in names if name not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_retired_words_are_gone(page):
    if page.name != "renamed.md":
        assert [word for word in RETIRED if re.search(rf"\b{word}", page.read_text())] == []


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
        is_trick = card.folder == "models" or "Recipe" in card.fields
        assert not is_trick or (site / place / card.name / "index.html").is_file(), card.path
    page = (site / "families" / "nfnet" / "index.html").read_text()
    assert "71,489,284" in page and "6.977" in page  # of nfnet_f0, docs/models.csv
    agc = (site / "tricks" / "optimizers" / "agc" / "index.html").read_text()
    assert "<mfrac>" in agc and "agc_clip_factor=0.01" in agc and "images/agc.png" in agc
    start = (site / "index.html").read_text()
    assert 'href="families/"' in start and 'href="reference/losses/"' in start and "keras_tricks/losses" not in start


def test_every_command_for_a_table_or_figure_exists():
    text = (DOCS / "papers.md").read_text()
    known, folders = set(kt.recipe.list_recipes()), {name.partition("/")[0] for name in kt.recipe.list_recipes()}
    named = re.findall(r"`(?:keras-tricks \w+ )?((?:\w+)/[\w*]+)[` ]", text)
    recipes = [name for name in named if name.partition("/")[0] in folders]
    assert len(recipes) > 30
    assert [name for name in recipes if not any(fnmatch.fnmatchcase(other, name) for other in known)] == []
    chains = re.findall(r"--chain (\w+)", text)
    assert set(chains) == set(ablation.CHAINS)
    commands = re.findall(r"`keras-tricks (\w+)", text)
    assert set(commands) <= set(kt.cli.COMMANDS) and {"plan", "scale", "ablate", "train"} <= set(commands)
    for function in re.findall(r"`kt\.([\w.]+)`", text):
        assert functools.reduce(getattr, function.split("."), kt)
    for key in re.findall(r"--set ([\w.]+)=", text):
        assert key.startswith("model.options.") or key in kt.recipe.recipe_keys()
