"""The parameter counts in the cards of the networks, beside docs/models.csv, which the tests of the docs rebuild."""

import ast
import csv
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def counts_of_cards():
    """{family: the numbers above 100,000 in the table of its card}."""
    found = {}
    for path in sorted((ROOT / "keras_tricks" / "models").glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        numbers = [int(n.replace(",", "")) for line in text.splitlines() if line.startswith("|")
                   for n in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", line)]
        if numbers:
            found[path.stem] = numbers
    return found


def test_every_count_of_a_card_is_that_of_a_network():
    with open(ROOT / "docs" / "models.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = counts_of_cards()
    assert {"nf_resnet", "nfnet", "resnet_rs", "wide_resnet", "fixup_resnet"} <= counts.keys()
    known = {}
    for row in rows:
        known.setdefault(row["family"], set()).add(int(row["parameters"]))
    for family, numbers in counts.items():
        wanted = known[family]
        unknown = [n for n in numbers if n not in wanted]
        # the second column of nf_resnet, with squeeze-excite, is counted in test_nfnet.py
        assert unknown == [] or (family == "nf_resnet" and len(unknown) == 5), (family, unknown)
