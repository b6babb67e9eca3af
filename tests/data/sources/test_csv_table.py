"""CSV files of paths and labels: what is read, and one line for everything that is wrong."""

import os

import numpy as np
import pytest
from support.image_folders import DATA, content, evaluated, trained

from keras_tricks import cli
from keras_tricks.data import open_evaluation, open_source
from keras_tricks.data.sources.bad_images import TooManyBadImages
from keras_tricks.utils.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """`photos/0.png` ... `photos/29.png` of gray value 20 + number."""
    (tmp_path / "photos").mkdir()
    for i in range(30):
        (tmp_path / "photos" / f"{i}.png").write_bytes(content(20 + i))
    return tmp_path


def write(folder, rows, header="path,label", name="data.csv", encoding="utf-8", newline="\n"):
    (folder / name).write_bytes((newline.join([*([header] if header else []), *rows]) + newline).encode(encoding))
    return folder / name


def rows(numbers, label=lambda i: "cat" if i % 2 else "dog", end=""):
    return [f"photos/{i}.png,{label(i)}{end}" for i in numbers]


def held(split, num_classes=2):
    """{gray value - 20: label}"""
    values, labels, weights = evaluated(split, num_classes)
    assert (weights == 1).all()
    return dict(zip((values - 20).tolist(), labels.tolist(), strict=True))


def refused(path, *words, **options):
    with pytest.raises(UserError) as caught:
        open_source("csv", path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_every_tenth_image_of_a_class_is_held_out(photos):
    source = open_source("csv", write(photos, rows(range(30))))
    assert source.class_names == ("cat", "dog")
    assert held(source.validation) == {18: 1, 19: 0}
    assert source.train.num_examples == 28 and source.train.labels.tolist()[:3] == [1, 0, 1]  # in the file's order


def test_the_column_split(photos):
    text = rows(range(20), end=",train") + rows(range(20, 25), end=",Val") + rows(range(25, 30), end=",test")
    source = open_source("csv", write(photos, text, "path,label,split"))
    assert held(source.train) == {i: 1 - i % 2 for i in range(20)}
    assert held(source.validation) == {i: 1 - i % 2 for i in range(20, 25)}
    source = open_source("csv", photos / "data.csv", validation_split="TEST")
    assert sorted(held(source.validation)) == list(range(25, 30))


def test_a_folder_with_two_files(photos):
    write(photos, rows(range(20)), name="train.csv")
    write(photos, rows(range(20, 30)), name="Validation.csv")
    source = open_source("csv", photos)
    assert (source.train.num_examples, source.validation.num_examples) == (20, 10)
    assert sorted(held(source.validation)) == list(range(20, 30))
    refused(photos, "no such CSV", validation_split="other")
    refused(photos / "photos", "has no train.csv")


def test_numbers_are_names_in_numerical_order(photos):
    source = open_source("csv", write(photos, rows(range(30), lambda i: (1, 10, 2)[i % 3])))
    assert source.class_names == ("1", "2", "10")
    assert source.train.labels.tolist()[:3] == [0, 2, 1]


def test_numbers_are_places_in_a_list_of_classes(photos):
    (photos / "classes.txt").write_text("dog\ncat\nbird\n")
    source = open_source("csv", write(photos, rows(range(30), lambda i: f"{i % 2}.0")))
    assert source.class_names == ("dog", "cat", "bird") and source.train.labels.tolist()[:3] == [0, 1, 0]
    source = open_source("csv", write(photos, rows(range(30))))
    assert source.train.labels.tolist()[:3] == [0, 1, 0]
    refused(write(photos, rows(range(30), lambda i: i % 4)), "'3' (line 5, line 9, line 13, 4 more)",
            "a number from 0 to 2")
    refused(write(photos, rows(range(30), lambda i: "dogs")), 'Did you mean "dog"?')


@pytest.mark.parametrize("label, words", [
    (lambda i: i % 2 - 1, ["'-1' (line 2, line 4"]), (lambda i: i / 4, ["'0.25', '0.5'", "line 3"]),
])
def test_labels_out_of_range(photos, label, words):
    refused(write(photos, rows(range(30), label)), "a name or a whole number from 0", *words)


@pytest.mark.parametrize("options", [
    {"encoding": "utf-8-sig"}, {"encoding": "utf-16"}, {"newline": "\r\n"}, {"newline": "\r"},
])
def test_what_spreadsheets_write(photos, options):
    assert open_source("csv", write(photos, rows(range(30)), **options)).class_names == ("cat", "dog")


@pytest.mark.parametrize("delimiter", ";\t")
def test_other_delimiters(photos, delimiter):
    text = [row.replace(",", delimiter) for row in rows(range(30))]
    assert open_source("csv", write(photos, text, f"PATH{delimiter} Label ")).train.num_examples == 28


def test_paths_of_windows(photos):
    source = open_source("csv", write(photos, [row.replace("/", "\\") for row in rows(range(30))]))
    assert sorted(held(source.validation)) == [18, 19] and not source.train.bad.reasons
    path = write(photos, rows(range(30)) + ["C:\\photos\\1.png,cat"])
    source = open_source("csv", path)
    assert list(source.train.bad.reasons.values()) == ["it is a path of Windows; write paths relative to the CSV file"]


def test_other_columns(photos):
    path = write(photos, [f"{i},{row}" for i, row in enumerate(rows(range(30)))], "id,file,breed")
    source = open_source("csv", path, image_column="file", label_column="breed")
    assert source.class_names == ("cat", "dog")
    refused(path, "its first line must name the columns")
    refused(path, "no column 'file_name'", 'Did you mean "file"?', "data.image_column", image_column="file_name",
            label_column="breed")


def test_missing_files_count_as_broken(photos, capsys):
    os.mkfifo(photos / "photos" / "pipe.png")
    path = write(photos, rows(range(30)) + ["photos/none.png,cat", "photos/pipe.png,dog", "photos,dog"])
    source = open_source("csv", path)
    assert {os.path.basename(p): r for p, r in source.train.bad.reasons.items()} == {
        "none.png": "No such file or directory", "pipe.png": "it is a named pipe", "photos": "it is a folder"}
    images, labels = trained(source.train, 2)[0]
    assert images.shape == (4, 16, 16, 3)
    assert len(trained(source.train, 2)) == 7
    with pytest.raises(TooManyBadImages, match="3 images cannot be read"):
        open_source("csv", path, max_bad_images=2)
    cli.run(cli.parse(["keras-tricks", "data", "check", "csv", "--data-dir", str(path)]))
    assert "none.png: No such file" in capsys.readouterr().out


def test_rows_that_repeat(photos, caplog):
    path = write(photos, rows(range(30)) + rows([3, 4]) + ["./photos/5.png,cat"])
    with caplog.at_level("INFO"):
        source = open_source("csv", path)
    assert source.train.num_examples == 28
    assert "3 left out: a row that repeats an earlier one: line 32, line 33, line 34" in caplog.text
    refused(write(photos, rows(range(30)) + ["photos/3.png,dog"]), "'cat' in line 5 and 'dog' in line 32")


def test_an_image_in_both_splits_is_reported(photos, caplog):
    text = rows(range(20), end=",train") + rows(range(15, 30), end=",val")
    open_source("csv", write(photos, text, "path,label,split"))
    assert "5 images are both training and validation images" in caplog.text


@pytest.mark.parametrize("text, words", [
    ("", ["is empty", "path,label"]),
    ("\n\n", ["is empty"]),
    ("path,label\n", ["a header and no rows"]),
    ("a.png,cat\nb.png,dog\n", ["has no header", "'a.png,cat'", "path,label"]),
    ("path,class\na.png,cat\n", ["no column 'label'", "path, class", "data.label_column"]),
    ("path,label\na.png,\n", ["line 2", "label is empty"]),
    ("path,label\na.png\n", ["line 2", "label is empty"]),
    ("path,label\n,cat\n", ["line 2", "path is empty"]),
    ("path,label\na,b.png,cat\n", ["line 2", "3 cells", "quotation marks"]),
    ('path,label\n"a.png,cat\n', ["not valid CSV"]),
    ("path,label,label\na,b,c\n", ["label twice"]),
    ("path,label,split\na,b,\nc,d,train\n", ["split is empty in line 2"]),
    ("path,label,split\na,b,x\n", ["the column split has x", "data.train_split"]),
    (b"path,label\n\xe9.png,cat\n", ["not text in UTF-8 (byte 11)"]),
    (b"\xff\xfea", ["not text in UTF-8"]),
    ("path,label\nnone.png,cat\nother.png,dog\n", ["no class of 10 images", "column split"]),
    ("path,label,split\nnone.png,cat,train\nother.png,dog,val\n", ["classes that training does not have: dog"]),
    ("path,label,split\nnone.png,cat,train\nother.png,cat,val\n", ["None of the 1 images", "No such file"]),
])
def test_errors_are_one_line(tmp_path, text, words):
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(path, *words)


def test_no_file(tmp_path):
    refused(tmp_path / "none.csv", "cannot be read (No such file")
    refused(None, "--data-dir FILE.csv")


def test_the_identity_changes_with_paths_labels_and_sizes(photos):
    path = write(photos, rows(range(30)))
    first = open_source("csv", path).identity
    assert open_source("csv", path).identity == first
    (photos / "photos" / "3.png").write_bytes(content(3, size=64))
    second = open_source("csv", path).identity
    assert open_source("csv", write(photos, rows(range(30), lambda i: "cat" if i % 3 else "dog"))).identity != second
    assert first != second


def test_evaluation_reads_all_rows_or_those_of_validation(photos):
    path = write(photos, rows(range(30)))
    data = DATA.model_copy(update={"source": "csv", "data_dir": str(path)})
    split = open_evaluation(data, ("dog", "bird", "cat"))
    assert split.num_examples == 30 and split.labels.tolist()[:3] == [0, 2, 0]
    write(photos, rows(range(25, 30), end=",val"), "path,label,split")
    assert np.array_equal(open_evaluation(data).labels, [0, 1, 0, 1, 0])
    with pytest.raises(UserError, match="does not have: cat"):
        open_evaluation(data, ("dog", "bird"))
