"""The report of an ablation: means, spreads and differences, as a table, a CSV file and a picture."""

import csv
import math
import re

import pytest
from PIL import Image

from keras_tricks.studies.ablation import AblationRow, Result, draw, report, table, write_csv

ROWS = [AblationRow("baseline", None), AblationRow("+ warmup", None, 0), AblationRow("+ mixup", None, 1),
        AblationRow("+ wild", None, 2),
        AblationRow("+ cosine", None, 3)]


def results_of(*rows, updates=1200, minutes=3.0):
    """Results in the order of `study`, seed by seed, from the top-1 of each row's seeds."""
    return [Result(number, seed, row[seed], 8, updates + seed, minutes + seed)
            for seed in range(max(map(len, rows))) for number, row in enumerate(rows) if seed < len(row)]


RESULTS = results_of((90.0, 92.0, 94.0), (93.0, 95.0), (91.0, None), (None, None), (80.0, 82.0))


def test_means_spreads_and_differences_by_hand():
    first, warmup, mixup, wild, cosine = report.summaries(ROWS, RESULTS)
    assert (first.values, first.runs, first.diverged) == ((90.0, 92.0, 94.0), 3, 0)
    assert (first.mean, first.delta, first.error) == (92.0, None, None)
    assert first.sd == pytest.approx(2.0)  # sqrt((4 + 0 + 4) / 2)
    assert (warmup.mean, warmup.delta, warmup.diverged) == (94.0, 2.0, 0)
    assert warmup.sd == pytest.approx(math.sqrt(2.0))  # sqrt((1 + 1) / 1)
    assert warmup.error == pytest.approx(math.sqrt(4 / 3 + 2 / 2))
    assert (cosine.mean, cosine.sd) == (81.0, pytest.approx(math.sqrt(2.0)))
    assert [s.name for s in (first, warmup, mixup, wild, cosine)] == [row.name for row in ROWS]


def test_a_run_that_diverged_is_counted_and_not_averaged():
    _, _, mixup, wild, cosine = report.summaries(ROWS, RESULTS)
    assert (mixup.values, mixup.runs, mixup.diverged) == ((91.0,), 2, 1)
    assert (mixup.mean, mixup.sd, mixup.delta, mixup.error) == (91.0, None, -3.0, None)
    assert (wild.values, wild.runs, wild.diverged) == ((), 2, 2)
    assert (wild.mean, wild.sd, wild.delta, wild.error) == (None,) * 4
    assert (cosine.delta, cosine.error) == (None, None)  # the other row has no value
    text = table(ROWS, RESULTS)
    assert cells(text)[4][1:4] == ["2", "91.00 (1 of 2 diverged)", "-3.00"]
    assert cells(text)[5][1:4] == ["2", "(2 of 2 diverged)", ""]


def test_updates_and_minutes_are_those_of_one_run():
    first, warmup, *_ = report.summaries(ROWS, RESULTS)
    assert (first.updates, first.minutes) == (1201, 4.0) and (warmup.updates, warmup.minutes) == (1200.5, 3.5)


def test_leaving_one_out_compares_with_everything():
    rows = [AblationRow("everything", None), AblationRow("- warmup", None, 0), AblationRow("- mixup", None, 0)]
    _, warmup, mixup = report.summaries(rows, results_of((90.0, 92.0), (80.0, 84.0), (91.0, 91.0)))
    assert (warmup.delta, mixup.delta) == (-9.0, 0.0)
    assert warmup.error == pytest.approx(math.sqrt(2 / 2 + 8 / 2)) and mixup.error == pytest.approx(1.0)


def test_rows_without_a_run_are_not_there_yet():
    assert [s.name for s in report.summaries(ROWS, RESULTS[:2])] == ["baseline", "+ warmup"]
    assert report.summaries(ROWS, []) == [] and table(ROWS, []).count("\n") == 1


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_table():
    head, rule, *lines = cells(table(ROWS, RESULTS))
    assert head == ["row", "n", "top-1 %", "Δ", "updates", "minutes"]
    assert lines[0] == ["baseline", "3", "92.00 ± 2.00", "", "1,201", "4.0"]
    assert lines[1] == ["+ warmup", "2", "94.00 ± 1.41", "+2.00 ± 1.53", "1,200", "3.5"]
    assert re.fullmatch("-+", rule[0]) and all(re.fullmatch("-+:", cell) for cell in rule[1:])


def test_every_line_of_the_table_has_as_many_cells_and_is_as_wide():
    text = table(ROWS, RESULTS)
    assert len(text.splitlines()) == 2 + len(ROWS) and {len(line) for line in cells(text)} == {6}
    assert len({len(line) for line in text.splitlines()}) == 1
    assert all(line.startswith("|") and line.endswith("|") for line in text.splitlines())


def test_a_name_cannot_break_the_table():
    rows = [AblationRow("baseline", None), AblationRow("+ a|b", None, 0)]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in table(rows, results_of((1.0,), (2.0,))).splitlines()} == {8}


def test_one_seed_claims_no_spread():
    results = results_of(*[(value,) for value in (90.0, 90.5, 89.0, 91.0, 92.0)])
    assert all(s.sd is None and s.error is None for s in report.summaries(ROWS, results))
    text = table(ROWS, results)
    assert "±" not in text and [line[2:4] for line in cells(text)[2:]] == [
        ["90.00", ""], ["90.50", "+0.50"], ["89.00", "-1.50"], ["91.00", "+2.00"], ["92.00", "+1.00"]]


def test_a_second_seed_of_one_row_claims_nothing_of_the_other():
    first, warmup = report.summaries(ROWS, results_of((90.0, 91.0), (92.0,)))
    assert first.sd == pytest.approx(math.sqrt(0.5)) and (warmup.sd, warmup.delta, warmup.error) == (None, 1.5, None)


def test_the_csv_file_has_every_run(tmp_path):
    write_csv(ROWS, RESULTS, tmp_path / "ablation.csv")
    with open(tmp_path / "ablation.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(RESULTS)
    assert [(line["row"], line["seed"]) for line in lines[:4]] == [("baseline", "0"), ("baseline", "1"),
                                                                   ("baseline", "2"), ("+ warmup", "0")]
    assert lines[3] == {"row": "+ warmup", "against": "baseline", "seed": "0", "top1": "93", "epochs": "8",
                        "updates": "1200", "minutes": "3.00"}
    assert [line["top1"] for line in lines if line["row"] == "+ mixup"] == ["91", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["ablation.csv"]


@pytest.mark.parametrize("against", [(None, 0, 1, 2, 3), (None, 0, 0, 0, 0)])
def test_the_csv_file_has_all_values_of_the_table(tmp_path, against):
    rows = [AblationRow(row.name, None, other) for row, other in zip(ROWS, against, strict=True)]
    rows[3] = AblationRow('+ odd, "quoted" μ', None, against[3])
    write_csv(rows, RESULTS, tmp_path / "ablation.csv")
    read, results = report.read_csv(tmp_path / "ablation.csv")
    assert read == rows and sorted(results, key=lambda r: (r.seed, r.row)) == RESULTS
    assert table(read, results) == table(rows, RESULTS)


def test_a_file_that_is_written_again_is_replaced(tmp_path):
    write_csv(ROWS, RESULTS, tmp_path / "ablation.csv")
    write_csv(ROWS, RESULTS[:1], tmp_path / "ablation.csv")
    assert len((tmp_path / "ablation.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("results", [RESULTS, RESULTS[:1], results_of(*[(None,)] * 5)],
                         ids=["three seeds", "one run", "all diverged"])
def test_the_picture_opens(tmp_path, results):
    draw(ROWS, results, tmp_path / "ablation.png", "title")
    with Image.open(tmp_path / "ablation.png") as image:
        image.load()
        assert image.format == "PNG" and image.width == 880
        assert len(image.convert("RGB").getcolors(2**20)) > 10  # the image is not empty
    assert [path.name for path in tmp_path.iterdir()] == ["ablation.png"]


def test_the_picture_grows_with_the_rows(tmp_path):
    heights = []
    for count in (1, 3):
        draw(ROWS, results_of(*[(90.0,)] * count), tmp_path / "a.png", "title")
        with Image.open(tmp_path / "a.png") as image:
            heights.append(image.height)
    assert heights == [187, 297]  # 1.2 and 0.5 inches for each row, at 110 dots
