"""`keras-tricks report`: what the page shows, that it needs no server, and what it says of what is missing."""

import csv
import html.parser
import re

import filelock
import numpy as np
import pytest
from support.photos import CLASSES, answers, made_run, photos, recipe

from keras_tricks import cli
from keras_tricks.analysis import wilson_interval
from keras_tricks.report import page as pages
from keras_tricks.report import sections
from keras_tricks.report.answers import Answers
from keras_tricks.report.kept import read_kept
from keras_tricks.report.write import Collected, write_report
from keras_tricks.utils.errors import UserError


class Page(html.parser.HTMLParser):
    """The links, the sources and the unclosed tags of a page."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.urls, self.ids = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.urls += [attributes[key] for key in ("src", "href", "srcset", "action") if key in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)


def check_alone(text):
    """The page needs no server: it has no script, no style sheet or image elsewhere, and no other address."""
    page = Page(text)
    assert not {"script", "iframe", "object", "form"} & set(page.tags)
    assert all(url.startswith(("data:", "#", "file://")) or re.fullmatch(r"[\w.-]+/\w+\.csv", url)
               for url in page.urls), page.urls
    without_recipe = re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert "http:" not in without_recipe and "https:" not in without_recipe and "@import" not in text
    assert "url(" not in text
    assert {url[1:] for url in page.urls if url.startswith("#")} <= set(page.ids)
    return page


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 training and 11 validation images of each class, one of which is broken."""
    root = tmp_path_factory.mktemp("data") / "own"
    photos(root / "train")
    photos(root / "val", count=11, first=12)
    (root / "val" / "cat" / "broken.png").write_bytes(b"broken")
    (root / "val" / "cat" / "notes.txt").write_text("text")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("runs") / "run", recipe(data, augment={"mixup_alpha": 0.5}))


@pytest.fixture(scope="module")
def written(run):
    return write_report(run[0])


def rows(written, name):
    path = next(file for file in written.files if file.name == name)
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_page_is_alone_and_complete(run, written):
    text = (run[0] / "report.html").read_text()
    page = check_alone(text)
    assert [name for name, *_ in pages.SECTIONS] == page.ids and written.missing == []
    assert sum(url.startswith("data:image") for url in page.urls) > 30 and len(text) < 300_000
    assert "broken.png" in text and "finished, 1 epochs" in text and "33</b>" in text and "1 cannot be read" in text
    assert "width=device-width" in text and "fitted to these same images" in text
    issues, _ = written.answers.issues
    assert f"{len(issues):,} of 33 labels that the network contradicts" in text or not len(issues)


def test_the_tables_are_what_the_network_answers(run, written, data):
    found = rows(written, "predictions.csv")
    files = sorted(path for path in (data / "val").rglob("*.png") if path.name != "broken.png")
    assert sorted(row["path"] for row in found) == list(map(str, files))
    by_hand = dict(zip(map(str, files), answers(run[1], files), strict=True))
    assert all(row["predicted"] == CLASSES[by_hand[row["path"]]] for row in found)
    assert all(row["label"] == row["path"].split("/")[-2] for row in found)
    for row in rows(written, "per_class.csv"):
        own = [r for r in found if r["label"] == row["class"]]
        correct = sum(r["predicted"] == r["label"] for r in own)
        assert (int(row["images"]), int(row["correct"])) == (len(own), correct) == (11, correct)
        low, high = wilson_interval(correct, 11)
        assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), abs=1e-8)
    cells = {(r["label"], r["predicted"]): int(r["images"]) for r in rows(written, "confusion.csv")}
    assert sum(cells.values()) == 33 and all(
        count == sum((r["label"], r["predicted"]) == pair for r in found) for pair, count in cells.items())
    bins = [row for row in rows(written, "calibration.csv") if row["temperature"] == "1"]
    assert sum(int(row["images"]) for row in bins) == 33 and len(bins) == 15


def test_the_command_names_the_files_and_the_accuracy_is_that_of_evaluate(run, written, capsys, tmp_path):
    args = cli.parse(["keras-tricks", "report", str(run[0]), "--output", str(tmp_path / "a" / "b.html")])
    args.run(args)
    out = capsys.readouterr().out
    assert str(tmp_path / "a" / "b.html") in out and str(tmp_path / "a" / "b" / "per_class.csv") in out
    check_alone((tmp_path / "a" / "b.html").read_text())
    args = cli.parse(["keras-tricks", "evaluate", str(run[0])])
    args.run(args)
    top1 = f"{100 * np.mean(written.answers.correct):.2f} %"
    assert top1 in capsys.readouterr().out and top1 in (run[0] / "report.html").read_text()


def test_another_folder(run, tmp_path):
    other = photos(tmp_path / "other", ("dog", "ship"), count=5, first=40)
    found = write_report(run[0], tmp_path / "page.html", other)
    assert len(found.answers.labels) == 10 and set(found.answers.labels) == {1, 2}
    assert "Classes without an image: 1." in check_and_read(tmp_path / "page.html")
    with pytest.raises(UserError, match="does not exist"):
        write_report(run[0], tmp_path / "page.html", tmp_path / "nowhere")


def check_and_read(path):
    text = path.read_text()
    check_alone(text)
    return text


def test_data_that_are_gone(tmp_path):
    root = photos(tmp_path / "data")
    folder, _ = made_run(tmp_path / "run", recipe(root))
    root.rename(tmp_path / "moved")
    found = write_report(folder)
    text = check_and_read(folder / "report.html")
    assert len(found.missing) == 2 and found.answers is None and found.files == [folder / "report.html"]
    assert "The validation images cannot be read" in text and "The training images cannot be read" in text
    assert 'id="curves"' in text and 'id="recipe"' in text and 'id="classes"' not in text
    assert len(write_report(folder, data_dir=tmp_path / "moved").answers.labels) == 36, "all images of a folder"


def test_a_run_that_is_still_training(data, tmp_path):
    folder, _ = made_run(tmp_path / "run", recipe(data, schedule={"epochs": 9}))
    (folder / "log.txt").write_text("2026-01-01 10:00:00,000 WARNING 1 broken training images were left out:\n"
                                    "2026-01-01 10:00:00,000 WARNING   x/a.png: cut off\n"
                                    "2026-01-01 10:00:00,000 INFO end\n")
    with filelock.FileLock(folder / ".lock"):
        (folder / ".owner").write_text("process 7 on here")
        write_report(folder)
    text = check_and_read(folder / "report.html")
    assert "running, 1 of 9 epochs done (process 7 on here)" in text and "training: x/a.png: cut off" in text
    assert read_kept(folder).state == "not finished: 1 of 9 epochs done"


def test_a_run_in_its_first_epoch(data, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe(data).to_json())
    found = write_report(folder)
    text = check_and_read(folder / "report.html")
    assert found.missing[0].startswith("No answers to single images") and "No epoch has finished yet" in text
    assert len(found.training) == 16, "training images need no checkpoint"


def test_a_run_that_never_evaluated(data, tmp_path):
    folder, _ = made_run(tmp_path / "run", recipe(data))
    (folder / "summary.csv").write_text("epoch,step,images,lr,batch_size,train_loss\n1,2,3,0.1,16,2.5\n")
    write_report(folder)
    assert "The run has not evaluated any epoch" in check_and_read(folder / "report.html")


def test_mistakes(run, tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="--output takes the name of an HTML file.*page.txt"):
        write_report(run[0], tmp_path / "page.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(run[0], tmp_path / "file" / "page.html")


class Nothing:
    """A split without files."""

    def __init__(self, count):
        self.num_examples, self.paths = count, ()


@pytest.mark.parametrize("classes, n", [(2, 40), (30, 400), (1000, 5000)])
def test_few_and_many_classes(run, classes, n):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, classes)).astype("float32")
    labels = rng.integers(0, classes, n)
    logits[np.arange(n), labels] += 3
    names = tuple(f"class <{i}>" for i in range(classes))
    found = Collected(read_kept(run[0]), answers=Answers(names, logits, labels, np.arange(n), Nothing(n)))
    text = pages.page(found, run[0] / "report.html")
    check_alone(text)
    assert "class &lt;" in text and "class <" not in text
    assert ('class="matrix"' in text) == (classes <= sections.MATRIX) != ('class="heat"' in text)
    assert ("top-5" in sections.head(found)) == (classes > 5)
    assert len(text) < 150_000, "the tables hold the rest"
    assert ("per_class.csv has all" in text) == (classes > sections.CLASS_ROWS)
